package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
)

const (
	handshakeRecord = 0x16
	alert           = "\x15\x03\x01\x00\x02\x02\x46" // sends clients that know it to TLS
)

var methodsExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 9586, 100, 7, 1}

// server answers calls, as existing servers do.
type server struct {
	listener net.Listener
	tls      *tls.Config // nil: everybody may do everything
	store    *store
	unix     *unixDoor // nil: clients stay where they are
}

func newServer() (*server, error) {
	s := &server{store: newStore()}
	if *authorities != "" {
		pool, err := loadAuthorities()
		if err != nil {
			return nil, err
		}
		pairs, err := loadPairs()
		if err != nil {
			return nil, err
		}
		s.tls = &tls.Config{
			Certificates: pairs,
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    pool,
			MinVersion:   tls.VersionTLS12,
			MaxVersion:   newestVersion(),
		}
	}
	if *unixSocket != "" {
		door, err := openUnixDoor(*unixSocket)
		if err != nil {
			return nil, err
		}
		s.unix = door
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.listener = listener
	return s, err
}

func (s *server) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *server) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer raw.Close()
			s.receive(raw)
		}()
	}
}

// receive reads the head of the request and decides what becomes of the connection.
func (s *server) receive(raw net.Conn) {
	in := bufio.NewReader(raw)
	if *wholeTLS {
		first, err := in.Peek(1)
		if err != nil {
			return
		}
		if first[0] != handshakeRecord {
			http.ReadRequest(in)
			io.WriteString(raw, alert)
			return
		}
		raw = tls.Server(unread{raw, in}, s.tls)
		in = bufio.NewReader(raw)
	}
	request, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	e, status := s.decide(request)
	if status != 0 {
		fmt.Fprintf(raw, "HTTP/1.0 %d %s\r\n\r\n", status, http.StatusText(status))
		return
	}
	io.WriteString(raw, "HTTP/1.0 "+connected+"\n\n")
	l := &link{raw, in, bufio.NewWriter(raw), e.coder, "plain"}
	switch {
	case *wholeTLS:
		l.carrier = "TLS"
	case e.secured:
		l = newLink(tls.Server(raw, s.tls), e.coder, "TLS")
	}
	s.serve(l)
}

// unread is a connection some of whose bytes are in a buffer.
type unread struct {
	net.Conn
	in *bufio.Reader
}

func (u unread) Read(data []byte) (int, error) { return u.in.Read(data) }

func (s *server) decide(request *http.Request) (endpoint, int) {
	for _, e := range chosen(securedEndpoints) {
		if e.path == request.URL.Path && s.tls != nil {
			return e, refuseUnless(request.Method == "CONNECT", http.StatusBadRequest)
		}
	}
	for _, e := range chosen(unsecuredEndpoints) {
		if e.path == request.URL.Path {
			return e, refuseUnless(s.tls == nil, http.StatusMethodNotAllowed)
		}
	}
	return endpoint{}, http.StatusNotFound
}

func refuseUnless(good bool, status int) int {
	if good {
		return 0
	}
	return status
}

// serve answers calls until the connection ends.
func (s *server) serve(l *link) {
	permitted := []string{"*.*"}
	if secured, is := l.raw.(*tls.Conn); is {
		if secured.Handshake() != nil {
			return
		}
		permitted = methodsOf(secured.ConnectionState().PeerCertificates[0])
	}
	fmt.Println(l.carrier, l.coder.name)
	s.answerCalls(l, permitted)
}

func (s *server) answerCalls(l *link, permitted []string) {
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			return
		}
		if name := strings.TrimSpace(line); name == upgradeMethod {
			moved, err := s.upgrade(l)
			if err != nil {
				return
			}
			if moved != l {
				fmt.Println(moved.carrier, moved.coder.name)
				l.raw.Close()
				defer moved.raw.Close()
				l = moved
			}
		} else if s.answer(l, name, permitted) != nil {
			return
		}
		if l.out.Flush() != nil {
			return
		}
	}
}

func (s *server) answer(l *link, name string, permitted []string) error {
	if name == "" {
		return l.out.WriteByte('\n')
	}
	run, known := methods[name]
	switch {
	case !known:
		fmt.Fprintln(l.out, "unknown method:", name)
		return nil
	case !matches(permitted, name):
		fmt.Fprintln(l.out, "access to method denied")
		return nil
	}
	l.out.WriteByte('\n')
	if err := l.out.Flush(); err != nil {
		return err
	}
	return run(s.store, l.newCall())
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if found, _ := path.Match(pattern, name); found {
			return true
		}
	}
	return false
}

func methodsOf(certificate *x509.Certificate) []string {
	var found []string
	for _, extension := range certificate.Extensions {
		if extension.Id.Equal(methodsExtension) {
			asn1.Unmarshal(extension.Value, &found)
		}
	}
	return found
}
