package main

import (
	"time"

	"imageserver.test/messages"
)

// Every kind of value that gob knows.

// Any holds whatever is registered.
type Any interface{}

type Point struct {
	X, Y int
}

type SubPoint struct {
	Y int
	Z int
}

type Empty struct{}

type Emb struct {
	Name string
}

type Inner struct {
	A string
	B []string
}

type Rec struct {
	V    int
	Next *Rec
	Kids []Rec
}

type AllZeroArr struct {
	A [4]byte
	B [2]string
	N int
}

type Maps struct {
	NilM   map[string]string
	EmptyM map[string]string
	M      map[string]string
	MU     map[uint64]Any
	MM     map[string][]string
}

type Ptrs struct {
	PZero *int
	PNil  *int
	PVal  *int
	PStr  *string
	PPt   *Point
}

type IfaceHolder struct {
	A Any
	B Any
	C Any
}

type Wrap struct {
	Tag string
	V   Any
	End int
}

type Unnamed struct {
	S Inner
	T time.Time
	N int
}

type HashHolder struct {
	V  messages.Hash
	P  *messages.Hash
	Sl []messages.Hash
	N  int
}

type Outer struct {
	Emb   Emb
	P     *Point
	In    Inner
	M     map[string]int
	L     []*Inner
	F     float64
	F32   float32
	C     complex128
	By    []byte
	Arr   [3]uint16
	Arr8  [4]byte
	Any   Any
	Bo    bool
	T     time.Time
	PT    *time.Time
	I8    int8
	U64   uint64
	D     time.Duration
	S     string
	NilSl []int
	Last  uint8
}
