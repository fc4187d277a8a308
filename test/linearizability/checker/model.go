package main

import (
	"hash/fnv"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// An address: its account, if there is one, and all valid sessions of its earlier accounts too. A state is never modified.
type state struct {
	// The number of the account; 0: there is none.
	account int
	// The number of the last account of this address.
	last     int
	id       string
	password string
	epoch    int
	sessions []session
	tokens   []string
	pending  []pending
}

type session struct {
	id      string
	account int
	epoch   int
}

// The progress of an operation with several steps.
type pending struct {
	op      int
	phase   phase
	left    int
	account int
	epoch   int
	all     bool
}

type phase int

const (
	checked phase = iota
	applied
	// A step of an unknown outcome had no effect, so that the next ones have none.
	abandoned
)

var model = porcupine.Model{
	Init:  func() any { return &state{} },
	Step:  func(current, input, _ any) (bool, any) { return take(current.(*state), input.(step)) },
	Equal: func(a, b any) bool { return equal(a.(*state), b.(*state)) },
	Hash:  func(s any) uint64 { return s.(*state).hash() },
}

func take(current *state, s step) (bool, any) {
	next := *current
	permitted := next.take(s)
	return permitted, &next
}

func (a *state) take(s step) bool {
	switch s.kind {
	case "create":
		if a.account != 0 {
			return s.maybe
		}
		a.last++
		a.account, a.id, a.password, a.epoch, a.tokens = a.last, s.Account, s.NewPassword, 0, nil
		a.open(s.Session)
	case "exists":
		return a.account != 0
	case "login":
		if a.account == 0 || a.password != s.Password || (a.id != "" && a.id != s.Account) {
			return false
		}
		a.id = s.Account
		a.open(s.Session)
	case "reject":
		return a.account == 0 || a.password != s.Password
	case "valid":
		return a.find(s.By) != nil
	case "invalid":
		return a.find(s.By) == nil
	case "invalidOrGone":
		found := a.find(s.By)
		return found == nil || found.account != a.account
	case "endBy":
		a.end(func(each session) bool { return each.id == s.By })
	case "noSuchAccount":
		return a.account == 0 || a.id != s.Account
	case "issue":
		if a.account == 0 {
			return false
		}
		a.tokens = sorted(append(slices.Clone(a.tokens), s.Token))
	case "unusable":
		return !slices.Contains(a.tokens, s.Token)
	default:
		return a.takePart(s)
	}
	return true
}

// Ends the sessions that were opened before the operation was applied. The session of "end others" stays.
func (a *state) endBelow(s step, progress pending) bool {
	if progress.phase != applied {
		return false
	}
	keeps := s.Name == "end others"
	a.end(func(each session) bool {
		isEarlier := progress.all || each.epoch < progress.epoch
		return each.account == progress.account && isEarlier && !(keeps && each.id == s.By)
	})
	if keeps {
		for index, each := range a.sessions {
			if each.id == s.By && each.epoch < progress.epoch {
				a.sessions[index].epoch = progress.epoch
			}
		}
	}
	return true
}

// Raises the epoch: earlier emailed tokens are not usable any more.
func (a *state) raise(progress *pending) {
	a.epoch++
	a.tokens = nil
	progress.phase, progress.account, progress.epoch = applied, a.account, a.epoch
}

func (a *state) open(id string) {
	if id == "" {
		return
	}
	a.sessions = append(slices.Clone(a.sessions), session{id, a.account, a.epoch})
	slices.SortFunc(a.sessions, func(x, y session) int { return strings.Compare(x.id, y.id) })
}

func (a *state) end(ends func(session) bool) {
	a.sessions = slices.DeleteFunc(slices.Clone(a.sessions), ends)
}

func (a *state) find(id string) *session {
	for index := range a.sessions {
		if a.sessions[index].id == id {
			return &a.sessions[index]
		}
	}
	return nil
}

func equal(a, b *state) bool {
	return a.account == b.account && a.last == b.last && a.id == b.id && a.password == b.password && a.epoch == b.epoch &&
		slices.Equal(a.sessions, b.sessions) && slices.Equal(a.tokens, b.tokens) && slices.Equal(a.pending, b.pending)
}

func (a *state) hash() uint64 {
	sum := fnv.New64a()
	sum.Write([]byte(a.password))
	for _, each := range a.sessions {
		sum.Write([]byte(each.id))
		sum.Write([]byte{byte(each.epoch)})
	}
	for _, each := range a.tokens {
		sum.Write([]byte(each))
	}
	for _, each := range a.pending {
		sum.Write([]byte{byte(each.op), byte(each.phase), byte(each.left)})
	}
	return sum.Sum64()
}

func sorted(values []string) []string {
	slices.Sort(values)
	return values
}
