// A contestant with Go's netlink and nftables libraries: commands as lines on stdin, answers as JSON
// lines on stdout, like floor/main.c. Time is taken around the work only.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type reply map[string]interface{}

// used is what this process has had of the processors by itself, and in the kernel, in seconds.
func used() (float64, float64) {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano()).Seconds(), time.Duration(usage.Stime.Nano()).Seconds()
}

func timed(work func()) reply {
	userBefore, systemBefore := used()
	began := time.Now()
	work()
	seconds := time.Since(began).Seconds()
	user, system := used()
	user -= userBefore
	return reply{"seconds": seconds, "cpu": user + system - systemBefore, "user": user}
}

// each is the time of one of many.
func each(count string, work func()) float64 {
	times := number(count)
	began := time.Now()
	for i := 0; i < times; i++ {
		work()
	}
	return time.Since(began).Seconds() / float64(times)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func obey(words []string) reply {
	argument := func(i int) string { return words[i+1] }
	switch words[0] {
	case "hub":
		return reply{"path": hubPath()}
	case "star":
		return timed(func() { buildStar(number(argument(0))) })
	case "unstar":
		return timed(removeStar)
	case "place":
		return reply{"path": containerPath(number(argument(0)))}
	case "open":
		return timed(func() { openReader(argument(0)) })
	case "all":
		links, addresses := 0, 0
		answer := timed(func() { links, addresses = readAll() })
		answer["links"], answer["addresses"] = links, addresses
		return answer
	case "one":
		index := 0
		seconds := each(argument(1), func() { index = readOne(argument(0)) })
		return reply{"seconds": seconds, "index": index}
	case "operate":
		return timed(func() { openOperator(argument(0), number(argument(1))) })
	case "address":
		return reply{"seconds": eachAddress(number(argument(0)))}
	case "route":
		return reply{"seconds": each(argument(1), func() { addAndRemoveRoute(argument(0)) })}
	case "ports":
		return timed(func() { openPorts(argument(0)) })
	case "publish":
		count := number(argument(0))
		return timed(func() { publishPorts(count) })
	case "list":
		count := 0
		answer := timed(func() { count = listPorts() })
		answer["count"] = count
		return answer
	case "more":
		return reply{"seconds": morePorts(number(argument(0)), number(argument(1)))}
	case "single":
		return timed(func() { addPorts(number(argument(0)), number(argument(1))) })
	case "unpublish":
		return timed(unpublishPorts)
	case "build":
		return timed(buildDemo)
	case "teardown":
		return timed(removeDemo)
	case "namespaces":
		return demoPlaces()
	}
	panic("no such verb: " + words[0])
}

func answer(line string) (result reply) {
	defer func() {
		if problem := recover(); problem != nil {
			result = reply{"error": fmt.Sprint(problem)}
		}
	}()
	return obey(strings.Fields(line))
}

func main() {
	runtime.LockOSThread() // a namespace is a thread's
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		text, err := json.Marshal(answer(lines.Text()))
		check(err)
		fmt.Println(string(text))
	}
}
