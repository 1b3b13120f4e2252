package main

import (
	"bufio"
	"fmt"
	"net"
)

// link is a connection that is ready for calls, on either side.
type link struct {
	raw     net.Conn
	in      *bufio.Reader
	out     *bufio.Writer
	coder   *coderKind
	carrier string
}

func newLink(raw net.Conn, coder *coderKind, carrier string) *link {
	return &link{raw, bufio.NewReader(raw), bufio.NewWriter(raw), coder, carrier}
}

// call is the body of a call. Each has an encoder and a decoder of its own.
type call struct {
	*link
	encoder
	decoder
}

func (l *link) newCall() *call {
	return &call{l, l.coder.newEncoder(l.out), l.coder.newDecoder(l.in)}
}

// refusal is a line that came instead of an empty one.
type refusal string

func (r refusal) Error() string { return string(r) }

// goOn waits for the empty line that says so.
func (l *link) goOn() error {
	if err := l.out.Flush(); err != nil {
		return err
	}
	line, err := l.in.ReadString('\n')
	if err != nil {
		return err
	}
	if line != "\n" {
		return refusal(line[:len(line)-1])
	}
	return nil
}

func (l *link) ping() error {
	l.out.WriteByte('\n')
	return l.goOn()
}

// begin waits until the server has let the call in.
func (l *link) begin(method string) (*call, error) {
	fmt.Fprintln(l.out, method)
	if err := l.goOn(); err != nil {
		return nil, err
	}
	return l.newCall(), nil
}

// ask makes a call that is a request and a reply.
func (l *link) ask(method string, request, response any) error {
	c, err := l.begin(method)
	if err != nil {
		return err
	}
	if err := c.Encode(request); err != nil {
		return err
	}
	if err := c.goOn(); err != nil {
		return err
	}
	return c.Decode(response)
}

// send encodes a value and lets it go.
func (c *call) send(value any) error {
	if err := c.Encode(value); err != nil {
		return err
	}
	return c.out.Flush()
}
