// Package config is the settings of a server: a tree of structs with their defaults, read from one YAML
// file. config.sample.yaml is generated from these structs and their comments.
//
// Invariants:
//   - a file is checked whole, and all of its faults are told at once with their lines;
//   - unknown and repeated keys are faults, so that a mistyped setting never goes unnoticed;
//   - what is not in the file has the default of Default, which is safe for a server on the internet;
//   - no secret has a default.
package config
