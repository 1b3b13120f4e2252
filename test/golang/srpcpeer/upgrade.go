package main

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"time"

	"imageserver.test/messages"
)

const (
	upgradeMethod = ".LocalUpgradeToUnix"
	cookieLength  = 8
)

// upgrade moves to a Unix socket if the server offers one.
func (l *link) upgrade() (*link, error) {
	l.raw.SetDeadline(time.Now().Add(patience))
	defer l.raw.SetDeadline(time.Time{})
	c, err := l.begin(upgradeMethod)
	if _, isRefused := err.(refusal); isRefused {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	cookie := make([]byte, cookieLength)
	if _, err := rand.Read(cookie); err != nil {
		return nil, err
	}
	if err := c.send(messages.LocalUpgradeToUnixRequestOne{ClientCookie: cookie}); err != nil {
		return nil, err
	}
	var one messages.LocalUpgradeToUnixResponseOne
	if err := c.Decode(&one); err != nil {
		return nil, err
	}
	if one.Error != "" {
		return l, nil
	}
	raw, err := dialUnix(one)
	if err != nil { // the server waits for this, and says nothing; it goes out with the next call
		return l, c.Encode(messages.LocalUpgradeToUnixRequestTwo{})
	}
	return c.move(raw, cookie)
}

func dialUnix(offer messages.LocalUpgradeToUnixResponseOne) (net.Conn, error) {
	if !*reachUnix {
		return nil, errors.New("out of reach")
	}
	raw, err := net.Dial("unix", offer.SocketPathname)
	if err != nil {
		return nil, err
	}
	raw.SetDeadline(time.Now().Add(patience))
	if _, err := raw.Write(offer.ServerCookie); err != nil {
		raw.Close()
		return nil, err
	}
	zero := make([]byte, 1)
	if _, err := io.ReadFull(raw, zero); err != nil || zero[0] != 0 {
		raw.Close()
		return nil, errors.New("the cookie was not taken")
	}
	return raw, nil
}

// move goes over to raw, if the server has found the cookie there.
func (c *call) move(raw net.Conn, cookie []byte) (*link, error) {
	if err := c.send(messages.LocalUpgradeToUnixRequestTwo{SentServerCookie: true}); err != nil {
		return nil, err
	}
	var two messages.LocalUpgradeToUnixResponseTwo
	if err := c.Decode(&two); err != nil {
		return nil, err
	}
	if two.Error != "" {
		raw.Close()
		return c.link, nil
	}
	echoed := make([]byte, cookieLength)
	if _, err := io.ReadFull(raw, echoed); err != nil {
		return nil, err
	}
	if string(echoed) != string(cookie) {
		return nil, errors.New("not our cookie")
	}
	c.raw.Close()
	raw.SetDeadline(time.Time{})
	return newLink(raw, c.coder, "Unix"), nil
}
