package rules_test

func checkersAuth() map[string]checker { return nil }
