// Srpcpeer is the other side of the tests of our calls: a client and a server that speak
// SRPC as existing Go programs do.
//
//	srpcpeer [flags] client ADDRESS STEP...   connect, then take the steps
//	srpcpeer [flags] server                   serve until standard input ends
//
// The client prints a line for connecting (how calls go out, and in which coder) and one for each
// step: "ok" or "error", and a text. Steps are words with blanks between them; see steps.go. The
// server prints its port, then how calls come in on each connection. It keeps what it is sent in
// memory.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"imageserver.test/messages"
)

var (
	certificates = flag.String("certificates", "",
		"folders with cert.pem and key.pem, with commas between them")
	authorities = flag.String("authorities", "", "server: PEM file of the CAs; empty: insecure")
	coder       = flag.String("coder", "", "the only coder to use: gob or JSON; empty: both")
	powers      = flag.Bool("powers", true, "client: use its method powers")
	newestTLS   = flag.String("newestTLS", "1.3", "1.2 or 1.3")
	wholeTLS    = flag.Bool("wholeTLS", false, "server: take TLS from the first byte on only")
	upgrade     = flag.Bool("upgrade", true, "client: move to a Unix socket, if it is this host")
	reachUnix   = flag.Bool("reachUnix", true, "client: can connect to Unix sockets")
	unixSocket  = flag.String("unixSocket", "", "server: where clients may move to")
)

func main() {
	flag.Parse()
	messages.RegisterInodes()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) > 1 && arguments[0] == "client":
		return runClient(arguments[1], arguments[2:])
	case len(arguments) == 1 && arguments[0] == "server":
		return runServer(os.Stdin)
	}
	return fmt.Errorf("neither client nor server: %s", arguments)
}

func runClient(address string, steps []string) error {
	pairs, err := loadPairs()
	if err != nil {
		return err
	}
	l, err := dial(address, pairs)
	if err != nil {
		report("", err)
		return nil
	}
	defer l.raw.Close()
	report(l.carrier+" "+l.coder.name, nil)
	for _, step := range steps {
		report(l.take(strings.Fields(step)))
	}
	return nil
}

func report(text string, err error) {
	if err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", "|"))
		return
	}
	fmt.Println(strings.TrimRight("ok "+text, " "))
}

func runServer(untilEnd io.Reader) error {
	s, err := newServer()
	if err != nil {
		return err
	}
	fmt.Println(s.port())
	go s.accept()
	_, err = io.Copy(io.Discard, untilEnd)
	return err
}

func loadPairs() ([]tls.Certificate, error) {
	var pairs []tls.Certificate
	for _, folder := range strings.Split(*certificates, ",") {
		if folder == "" {
			continue
		}
		pair, err := tls.LoadX509KeyPair(
			filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	return pairs, nil
}

func loadAuthorities() (*x509.CertPool, error) {
	data, err := os.ReadFile(*authorities)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("no certificates: %s", *authorities)
	}
	return pool, nil
}

func newestVersion() uint16 {
	if *newestTLS == "1.2" {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}
