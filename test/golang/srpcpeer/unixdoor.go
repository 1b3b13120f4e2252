package main

import (
	"crypto/rand"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"imageserver.test/messages"
)

// unixDoor is where clients connect that move over.
type unixDoor struct {
	path string
	sync.Mutex
	waiting map[string]net.Conn // by the cookie that was sent there
}

// openUnixDoor listens; a path with "@" in front is no file.
func openUnixDoor(path string) (*unixDoor, error) {
	if !strings.HasPrefix(path, "@") {
		os.Remove(path)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	door := &unixDoor{path: path, waiting: map[string]net.Conn{}}
	go func() {
		for {
			raw, err := listener.Accept()
			if err != nil {
				return
			}
			go door.admit(raw)
		}
	}()
	return door, nil
}

func (d *unixDoor) admit(raw net.Conn) {
	raw.SetReadDeadline(time.Now().Add(patience))
	cookie := make([]byte, cookieLength)
	if _, err := io.ReadFull(raw, cookie); err != nil {
		raw.Close()
		return
	}
	raw.SetReadDeadline(time.Time{})
	d.Lock()
	d.waiting[string(cookie)] = raw
	d.Unlock()
	raw.Write([]byte{0})
}

func (d *unixDoor) take(cookie []byte) net.Conn {
	d.Lock()
	defer d.Unlock()
	raw := d.waiting[string(cookie)]
	delete(d.waiting, string(cookie))
	return raw
}

// upgrade answers a client that wants to move; it gives the connection to go on with.
func (s *server) upgrade(l *link) (*link, error) {
	l.out.WriteByte('\n')
	if err := l.out.Flush(); err != nil {
		return nil, err
	}
	c := l.newCall()
	var one messages.LocalUpgradeToUnixRequestOne
	if err := c.Decode(&one); err != nil {
		return nil, err
	}
	if s.unix == nil {
		return l, c.Encode(messages.LocalUpgradeToUnixResponseOne{Error: "no socket"})
	}
	cookie := make([]byte, cookieLength)
	if _, err := rand.Read(cookie); err != nil {
		return nil, err
	}
	err := c.send(messages.LocalUpgradeToUnixResponseOne{
		ServerCookie: cookie, SocketPathname: s.unix.path})
	if err != nil {
		return nil, err
	}
	var two messages.LocalUpgradeToUnixRequestTwo
	if err := c.Decode(&two); err != nil {
		return nil, err
	}
	if !two.SentServerCookie {
		return l, nil
	}
	raw := s.unix.take(cookie)
	if raw == nil {
		return l, c.Encode(messages.LocalUpgradeToUnixResponseTwo{Error: "cookie not found"})
	}
	if err := c.send(messages.LocalUpgradeToUnixResponseTwo{}); err != nil {
		return nil, err
	}
	if _, err := raw.Write(one.ClientCookie); err != nil {
		return nil, err
	}
	return newLink(raw, l.coder, "Unix"), nil
}
