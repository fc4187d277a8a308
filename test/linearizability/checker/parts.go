package main

import (
	"slices"
	"strings"
)

// A step of an operation with several steps in their order.
func (a *state) takePart(s step) bool {
	index := slices.IndexFunc(a.pending, func(each pending) bool { return each.op == s.op })
	progress := pending{op: s.op, phase: -1, left: s.steps}
	if index >= 0 {
		progress = a.pending[index]
	}
	permitted := true
	if progress.phase != abandoned {
		permitted = a.part(s, &progress)
		isInOrder := strings.HasPrefix(s.kind, "then") == (index >= 0)
		if !permitted && s.maybe && isInOrder && !isTooEarly(s, progress) {
			progress.phase, permitted = abandoned, true
		}
	}
	if !permitted {
		return false
	}
	progress.left--
	a.pending = slices.DeleteFunc(slices.Clone(a.pending), func(each pending) bool { return each.op == s.op })
	if progress.left > 0 {
		a.pending = append(a.pending, progress)
		slices.SortFunc(a.pending, func(x, y pending) int { return x.op - y.op })
	}
	return true
}

func isTooEarly(s step, progress pending) bool {
	return s.kind == "thenEnd" && progress.phase != applied
}

func (a *state) part(s step, progress *pending) bool {
	isChecked := progress.phase == checked
	isPresent := a.account != 0 && a.account == progress.account
	switch s.kind {
	case "check":
		found := a.find(s.By)
		if found == nil {
			return false
		}
		progress.phase, progress.account = checked, found.account
	case "thenPresent":
		return isChecked && isPresent
	case "thenMismatch":
		return isChecked && (!isPresent || a.password != s.Password)
	case "thenDelete":
		if !isChecked {
			return false
		}
		if isPresent {
			a.account, a.id, a.password, a.epoch, a.tokens = 0, "", "", 0, nil
		}
		progress.phase, progress.all = applied, true
	case "thenChange":
		if !isChecked || !isPresent || a.password != s.Password {
			return false
		}
		a.password = s.NewPassword
		a.raise(progress)
	case "thenRaise":
		if !isChecked || !isPresent {
			return false
		}
		a.raise(progress)
	case "raiseAll":
		if a.account == 0 || a.id != s.Account {
			return false
		}
		a.raise(progress)
	case "reset":
		if a.account == 0 || !slices.Contains(a.tokens, s.Token) {
			return false
		}
		a.password = s.NewPassword
		a.raise(progress)
	case "thenEndOne":
		if !isChecked {
			return false
		}
		a.end(func(each session) bool { return each.id == s.Session && each.account == progress.account })
	case "thenEnd":
		return a.endBelow(s, *progress)
	case "thenOpen":
		if progress.phase != applied || !isPresent || a.password != s.NewPassword {
			return false
		}
		a.open(s.Session)
	default:
		panic("no step " + s.kind)
	}
	return true
}
