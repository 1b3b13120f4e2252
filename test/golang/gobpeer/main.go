// Gobpeer is the other side of the tests of our gob codec: Go's own encoding/gob.
//
// It reads requests from standard input, one after the other, each a line and some bytes:
//
//	echo TYPE SEED LENGTH   decode all TYPEs in the bytes, encode them again in one stream
//	make TYPE SEED 0        encode the random TYPE that belongs to the seed
//	same TYPE SEED LENGTH   decode a TYPE; is it the one that "make" has sent?
//	time TYPE COUNT LENGTH  decode and encode a TYPE again and again
//
// The answer is a line, "ok" or "error" and a length, and as many bytes: a gob stream or
// a text.
package main

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"
)

func main() {
	register()
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriter(os.Stdout)
	for {
		var command, name string
		var seed int64
		var length int
		if _, err := fmt.Fscanf(in, "%s %s %d %d\n", &command, &name, &seed, &length); err != nil {
			return
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		answer, err := run(command, name, seed, data)
		status := "ok"
		if err != nil {
			status, answer = "error", []byte(err.Error())
		}
		fmt.Fprintf(out, "%s %d\n", status, len(answer))
		out.Write(answer)
		out.Flush()
	}
}

func run(command, name string, seed int64, data []byte) ([]byte, error) {
	kind, known := types[name]
	if !known {
		return nil, fmt.Errorf("unknown type: %s", name)
	}
	switch command {
	case "echo":
		return echo(kind, data)
	case "make":
		return encode(random(kind, seed))
	case "same":
		return nil, compare(kind, seed, data)
	case "time":
		return measure(kind, int(seed), data)
	}
	return nil, fmt.Errorf("unknown command: %s", command)
}

func echo(kind reflect.Type, data []byte) ([]byte, error) {
	var out bytes.Buffer
	decoder, encoder := gob.NewDecoder(bytes.NewReader(data)), gob.NewEncoder(&out)
	for {
		value := reflect.New(kind)
		err := decoder.DecodeValue(value)
		if err == io.EOF && out.Len() > 0 {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		if err := encoder.EncodeValue(value); err != nil {
			return nil, err
		}
	}
}

func decode(kind reflect.Type, data []byte) (reflect.Value, error) {
	value := reflect.New(kind)
	reader := bytes.NewReader(data)
	err := gob.NewDecoder(reader).DecodeValue(value)
	if err == nil && reader.Len() != 0 {
		err = fmt.Errorf("%d bytes left", reader.Len())
	}
	return value, err
}

func encode(value reflect.Value) ([]byte, error) {
	var out bytes.Buffer
	err := gob.NewEncoder(&out).EncodeValue(value)
	return out.Bytes(), err
}

// compare decodes a value and compares it with the random one of a seed, as Go
// receives that: what is empty may have become nil.
func compare(kind reflect.Type, seed int64, data []byte) error {
	received, err := decode(kind, data)
	if err != nil {
		return err
	}
	sent, err := encode(random(kind, seed))
	if err != nil {
		return err
	}
	expected, err := decode(kind, sent)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(received.Interface(), expected.Interface()) {
		return fmt.Errorf("received %+v, not %+v", received.Elem(), expected.Elem())
	}
	return nil
}

// measure tells the least time, in nanoseconds, that decoding and encoding take, and the
// stream that was encoded last, each behind a line.
func measure(kind reflect.Type, count int, data []byte) ([]byte, error) {
	var decoding, encoding time.Duration
	var encoded []byte
	for i := 0; i < count; i++ {
		start := time.Now()
		value, err := decode(kind, data)
		if err != nil {
			return nil, err
		}
		middle := time.Now()
		if encoded, err = encode(value); err != nil {
			return nil, err
		}
		decoding = least(decoding, middle.Sub(start))
		encoding = least(encoding, time.Since(middle))
	}
	times := fmt.Sprintf("%d %d\n", decoding.Nanoseconds(), encoding.Nanoseconds())
	return append([]byte(times), encoded...), nil
}

func least(known, next time.Duration) time.Duration {
	if known == 0 || next < known {
		return next
	}
	return known
}
