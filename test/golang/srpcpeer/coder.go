package main

import (
	"encoding/gob"
	"encoding/json"
	"io"
)

type encoder interface{ Encode(value any) error }
type decoder interface{ Decode(value any) error }

// coderKind makes an encoder and a decoder for each call.
type coderKind struct {
	name       string
	newEncoder func(io.Writer) encoder
	newDecoder func(io.Reader) decoder
}

var gobCoder = &coderKind{
	"gob",
	func(out io.Writer) encoder { return gob.NewEncoder(out) },
	func(in io.Reader) decoder { return gob.NewDecoder(in) },
}

// jsonCoder has the weakness of the programs that exist: its decoder reads ahead, and what
// it has read is lost with it at the end of the call.
var jsonCoder = &coderKind{
	"JSON",
	func(out io.Writer) encoder { return json.NewEncoder(out) },
	func(in io.Reader) decoder { return json.NewDecoder(in) },
}
