// Checks whether the history of each address is linearizable; each line of the input file is one history.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

type result struct {
	User       string                `json:"user"`
	Result     porcupine.CheckResult `json:"result"`
	Operations int                   `json:"operations"`
	Millis     int64                 `json:"millis"`
	History    *history              `json:"history,omitempty"`
	Longest    []string              `json:"longest,omitempty"`
}

func main() {
	timeout := flag.Duration("timeout", time.Minute, "the time for one history; after it the result is Unknown")
	workers := flag.Int("workers", runtime.NumCPU(), "histories that are checked at the same time")
	flag.Parse()
	input, err := os.Open(flag.Arg(0))
	if err != nil {
		fail(err)
	}
	lines := make(chan []byte)
	var wait sync.WaitGroup
	var output sync.Mutex
	encoder := json.NewEncoder(os.Stdout)
	for range *workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for line := range lines {
				checked, err := checkLine(line, *timeout)
				if err != nil {
					fail(err)
				}
				output.Lock()
				err = encoder.Encode(checked)
				output.Unlock()
				if err != nil {
					fail(err)
				}
			}
		}()
	}
	scanner := bufio.NewScanner(input)
	scanner.Buffer(nil, 1<<28)
	for scanner.Scan() {
		lines <- append([]byte(nil), scanner.Bytes()...)
	}
	close(lines)
	wait.Wait()
	if err := scanner.Err(); err != nil {
		fail(err)
	}
}

// The result has the history, and the operations that could be ordered, unless the history is linearizable.
func checkLine(line []byte, timeout time.Duration) (result, error) {
	var recorded history
	if err := json.Unmarshal(line, &recorded); err != nil {
		return result{}, err
	}
	operations, err := stepsOf(recorded)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", recorded.User, err)
	}
	startedAt := time.Now()
	checked := porcupine.CheckOperationsTimeout(model, operations, timeout)
	answer := result{User: recorded.User, Result: checked, Operations: len(recorded.Operations)}
	if checked != porcupine.Ok {
		answer.History = &recorded
		_, info := porcupine.CheckOperationsVerbose(model, operations, timeout)
		answer.Longest = longestOrder(info, operations)
	}
	answer.Millis = time.Since(startedAt).Milliseconds()
	return answer, nil
}

// The longest order of steps that the model permits, each described.
func longestOrder(info porcupine.LinearizationInfo, operations []porcupine.Operation) []string {
	var longest []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(longest) {
				longest = order
			}
		}
	}
	described := make([]string, 0, len(longest))
	for _, index := range longest {
		described = append(described, describe(operations[index].Input.(step)))
	}
	return described
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
