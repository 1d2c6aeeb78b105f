package store

import "errors"

var postgresDialect = dialect{}

func openPostgres(Options) (engine, error) { return nil, errors.New("PostgreSQL: not yet") }
