package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const patience = 15 * time.Second

var errNoEndpoint = errors.New("no SRPC endpoint")

// dial connects to a server as existing clients do: it goes from endpoint to endpoint while there is
// none of that kind, and begins with TLS if what it gets does not look like HTTP.
func dial(address string, pairs []tls.Certificate) (*link, error) {
	secured, unsecured := chosen(securedEndpoints), chosen(unsecuredEndpoints)
	endpoints := unsecured
	if len(pairs) > 0 {
		endpoints = append(append(endpoints[:0:0], secured...), unsecured...)
	}
	l, err := tryAll(address, endpoints, pairs, false)
	if err != nil && len(pairs) > 0 && strings.Contains(err.Error(), "malformed HTTP response") {
		l, err = tryAll(address, secured, pairs, true)
	}
	if err != nil {
		return nil, err
	}
	if *upgrade && isSameHost(l.raw) {
		return l.upgrade()
	}
	return l, nil
}

func tryAll(address string, endpoints []endpoint, pairs []tls.Certificate, whole bool) (*link, error) {
	for _, e := range endpoints {
		l, err := try(address, e, pairs, whole)
		if !errors.Is(err, errNoEndpoint) {
			return l, err
		}
	}
	return nil, errNoEndpoint
}

func try(address string, e endpoint, pairs []tls.Certificate, whole bool) (*link, error) {
	raw, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	secured, err := connect(raw, e, pairs, whole)
	if err != nil {
		raw.Close()
		return nil, err
	}
	carrier := "plain"
	if e.secured {
		carrier = "TLS"
	}
	return newLink(secured, e.coder, carrier), nil
}

func connect(raw net.Conn, e endpoint, pairs []tls.Certificate, whole bool) (net.Conn, error) {
	raw.SetDeadline(time.Now().Add(patience))
	var err error
	if whole {
		if raw, err = shakeHands(raw, pairs); err != nil {
			return nil, err
		}
	}
	if err := request(raw, e.path); err != nil {
		return nil, err
	}
	if e.secured && !whole {
		if raw, err = shakeHands(raw, pairs); err != nil {
			return nil, err
		}
	}
	raw.SetDeadline(time.Time{})
	return raw, nil
}

func shakeHands(raw net.Conn, pairs []tls.Certificate) (net.Conn, error) {
	secured := tls.Client(raw, &tls.Config{
		Certificates:       pairs, // the one is sent whose issuer the server names
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS12,
		MaxVersion:         newestVersion(),
	})
	return secured, secured.Handshake()
}

// request sends CONNECT. The buffer that reads the answer is given up with all that it holds.
func request(raw net.Conn, path string) error {
	if !*powers {
		path += "?doNotUseMethodPowers=true"
	}
	if _, err := io.WriteString(raw, "CONNECT "+path+" HTTP/1.0\n\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(raw), &http.Request{Method: "CONNECT"})
	if err != nil {
		return err
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		return errNoEndpoint
	case response.StatusCode == http.StatusMethodNotAllowed:
		return errors.New("missing certificate")
	case response.StatusCode == http.StatusUnauthorized:
		return errors.New("bad certificate")
	case response.Status != connected:
		return fmt.Errorf("unexpected HTTP response: %s", response.Status)
	}
	return nil
}

// isSameHost tells whether the two ends have the same address.
func isSameHost(raw net.Conn) bool {
	local, _, _ := net.SplitHostPort(raw.LocalAddr().String())
	remote, _, _ := net.SplitHostPort(raw.RemoteAddr().String())
	return local == remote
}
