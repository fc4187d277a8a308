package main

import (
	"fmt"
	"math"

	"github.com/anishathalye/porcupine"
)

// The history of one address.
type history struct {
	User       string      `json:"user"`
	Operations []operation `json:"operations"`
}

// A request and its response. Times are nanoseconds of one monotonic clock.
type operation struct {
	Name string `json:"name"`
	Call int64  `json:"call"`
	// Zero: the outcome is unknown, so that the request may be applied at any later time, or never.
	Return int64 `json:"return,omitempty"`
	Status int   `json:"status"`
	// The session of the request.
	By string `json:"by,omitempty"`
	// The session that the response created, or that the request ends.
	Session string `json:"session,omitempty"`
	// The user id of the account, if the response names it.
	Account string `json:"account,omitempty"`
	// The password that the request presents.
	Password string `json:"password,omitempty"`
	// The password that the request sets.
	NewPassword string `json:"newPassword,omitempty"`
	// The emailed token.
	Token string `json:"token,omitempty"`
	// The sessions of a list, and the known sessions of the account that the list does not have.
	Listed []string `json:"listed,omitempty"`
	Absent []string `json:"absent,omitempty"`
}

// One atomic step of an operation.
type step struct {
	kind  string
	op    int
	steps int
	// The outcome is unknown: a step whose condition does not hold has no effect.
	maybe bool
	operation
}

// The steps of each operation by name and status; those of an unknown outcome have the status 0. Steps that begin with
// "then" follow the step before them.
var kinds = map[string]map[int][]string{
	"register":        {201: {"create"}, 409: {"exists"}, 0: {"create"}},
	"login":           {200: {"login"}, 401: {"reject"}, 0: {}},
	"login replacing": {200: {"login", "endBy"}, 401: {"reject"}, 0: {"endBy"}},
	"validate":        {200: {"valid"}, 401: {"invalid"}},
	"logout":          {204: {"endBy"}, 0: {"endBy"}},
	"delete":          {204: {"check", "thenDelete", "thenEnd"}, 401: {"invalid"}, 0: {"check", "thenDelete", "thenEnd"}},
	"change": {
		200: {"check", "thenChange", "thenEnd", "thenOpen"}, 401: {"invalidOrGone"}, 403: {"check", "thenMismatch"},
		0: {"check", "thenChange", "thenEnd"},
	},
	"end one":    {204: {"check", "thenEndOne"}, 401: {"invalid"}, 0: {"check", "thenEndOne"}},
	"end others": {204: {"check", "thenRaise", "thenEnd"}, 401: {"invalidOrGone"}, 0: {"check", "thenRaise", "thenEnd"}},
	"end all":    {200: {"raiseAll", "thenEnd"}, 404: {"noSuchAccount"}, 0: {"raiseAll", "thenEnd"}},
	"email":      {200: {"issue"}},
	"reset":      {204: {"reset", "thenEnd"}, 403: {"unusable"}, 0: {"reset", "thenEnd"}},
	"list":       {200: {"check"}, 401: {"invalid"}},
	"account":    {200: {"check", "thenPresent"}, 401: {"invalidOrGone"}},
}

// The steps of a history: those of one operation have its times.
func stepsOf(recorded history) ([]porcupine.Operation, error) {
	var all []porcupine.Operation
	for op, each := range recorded.Operations {
		status, end := each.Status, each.Return
		if end == 0 {
			status, end = 0, math.MaxInt64
		}
		names, known := kinds[each.Name][status]
		if !known {
			return nil, fmt.Errorf("the model has no response %d of %s", each.Status, each.Name)
		}
		add := func(kind string, of operation, steps int) {
			input := step{kind: kind, op: op, steps: steps, maybe: status == 0, operation: of}
			all = append(all, porcupine.Operation{ClientId: op, Input: input, Call: each.Call, Return: end})
		}
		for _, name := range names {
			add(name, each, len(names))
		}
		for _, id := range each.Listed {
			add("valid", operation{Name: each.Name, By: id}, 0)
		}
		for _, id := range each.Absent {
			add("invalid", operation{Name: each.Name, By: id}, 0)
		}
	}
	return all, nil
}

func describe(s step) string {
	return fmt.Sprintf("%d %s: %s by=%s session=%s password=%s", s.op, s.Name, s.kind, s.By, s.Session, s.Password)
}
