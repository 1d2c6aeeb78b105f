package rules_test

func checkersOther() map[string]checker { return nil }
