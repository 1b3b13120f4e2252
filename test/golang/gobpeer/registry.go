package main

import (
	"encoding/gob"
	"reflect"
	"time"

	"imageserver.test/messages"
)

// types are the types of whole values, by the names that the tests use.
var types = map[string]reflect.Type{}

// contents are the types that an interface may hold.
var contents = map[reflect.Type][]reflect.Type{}

// register makes all types known.
func register() {
	registerInodes()
	registerContents()
	for name, value := range basic {
		types[name] = reflect.TypeOf(value)
	}
	for _, value := range append(messages.Structs, structs...) {
		kind := reflect.TypeOf(value)
		types[kind.Name()] = kind
	}
}

func registerInodes() {
	messages.RegisterInodes()
	holder := reflect.TypeOf((*messages.GenericInode)(nil)).Elem()
	for _, inode := range messages.Inodes {
		contents[holder] = append(contents[holder], reflect.TypeOf(inode))
	}
}

func registerContents() {
	gob.RegisterName("map[string]int", map[string]int{})
	gob.RegisterName("main.Point", Point{})
	gob.RegisterName("alias/Inner", &Inner{})
	gob.RegisterName("main.Wrap", Wrap{})
	holder := reflect.TypeOf((*Any)(nil)).Elem()
	for _, content := range []any{
		int(0), "", false, float64(0), []byte{}, map[string]int{}, Point{}, &Inner{}, Wrap{},
	} {
		contents[holder] = append(contents[holder], reflect.TypeOf(content))
	}
}

// basic are the types that are no structs.
var basic = map[string]any{
	"bool": false, "int": int(0), "int8": int8(0), "int64": int64(0), "uint": uint(0),
	"uint8": uint8(0), "uint64": uint64(0), "float32": float32(0), "float64": float64(0),
	"complex128": complex128(0), "string": "", "[]uint8": []byte{}, "time.Time": time.Time{},
	"[]int": []int{}, "[]string": []string{}, "[]bool": []bool{}, "[][]uint8": [][]byte{},
	"[]main.Point": []Point{}, "[]hash.Hash": []messages.Hash{}, "[]interface": []Any{},
	"[4]uint8": [4]byte{}, "[3]int": [3]int{}, "[2]string": [2]string{}, "hash.Hash": messages.Hash{},
	"map[string]int": map[string]int{}, "map[string][]string": map[string][]string{},
	"map[uint64]main.Point": map[uint64]Point{}, "map[uint64]interface": map[uint64]Any{},
}

// structs are all others of ours.
var structs = []any{
	Point{}, SubPoint{}, Empty{}, Emb{}, Inner{}, Rec{}, AllZeroArr{}, Maps{}, Ptrs{},
	IfaceHolder{}, Wrap{}, Unnamed{}, HashHolder{}, Outer{},
}
