package main

import (
	"math"
	"math/rand"
	"reflect"
	"time"
)

const maxDepth = 10

var timeType = reflect.TypeOf(time.Time{})

// source makes random values; they are the same for the same seed.
type source struct {
	*rand.Rand
	full bool // nothing is left zero
}

// random makes the value of a type that belongs to a seed, as a pointer to it. The value
// of seed 0 is zero, and in that of seed 1 nothing is zero.
func random(kind reflect.Type, seed int64) reflect.Value {
	value := reflect.New(kind)
	if seed != 0 {
		source{rand.New(rand.NewSource(seed)), seed == 1}.fill(value.Elem(), 0)
	}
	return value
}

// fill gives a value to what can be set.
func (s source) fill(value reflect.Value, depth int) {
	s.fillOnce(value, depth)
	isStruct := value.Kind() == reflect.Struct && value.Type() != timeType
	for s.full && !isStruct && value.IsZero() && depth < maxDepth {
		s.fillOnce(value, depth)
	}
}

func (s source) fillOnce(value reflect.Value, depth int) {
	if value.Type() == timeType {
		value.Set(reflect.ValueOf(s.time()))
		return
	}
	switch value.Kind() {
	case reflect.Bool:
		value.SetBool(s.Intn(2) == 1)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		value.SetInt(int64(s.bits()) >> (64 - value.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		value.SetUint(s.bits() >> (64 - value.Type().Bits()))
	case reflect.Float32, reflect.Float64:
		value.SetFloat(s.float())
	case reflect.Complex64, reflect.Complex128:
		value.SetComplex(complex(s.float(), s.float()))
	case reflect.String:
		value.SetString(string(s.bytes()))
	case reflect.Array:
		for i := 0; i < value.Len(); i++ {
			s.fill(value.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := 0; i < value.NumField(); i++ {
			// Existing programs have this field and leave it nil; we do not keep it.
			if value.Type().Field(i).Name != "EntriesByName" {
				s.fill(value.Field(i), depth+1)
			}
		}
	default:
		if depth < maxDepth && s.Intn(4) > 0 {
			s.fillReference(value, depth)
		}
	}
}

// fillReference does so for what could also be nil.
func (s source) fillReference(value reflect.Value, depth int) {
	kind := value.Type()
	switch value.Kind() {
	case reflect.Pointer:
		value.Set(reflect.New(kind.Elem()))
		s.fill(value.Elem(), depth+1)
	case reflect.Slice:
		value.Set(reflect.MakeSlice(kind, s.count(), 4))
		for i := 0; i < value.Len(); i++ {
			s.fillElement(value.Index(i), depth)
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(kind))
		for i := s.count(); i > 0; i-- {
			key, item := reflect.New(kind.Key()).Elem(), reflect.New(kind.Elem()).Elem()
			s.fillElement(key, depth)
			s.fillElement(item, depth)
			value.SetMapIndex(key, item)
		}
	case reflect.Interface:
		s.fillInterface(value, depth)
	}
}

// fillElement never leaves a pointer nil: gob cannot send that but as a field.
func (s source) fillElement(value reflect.Value, depth int) {
	if value.Kind() == reflect.Pointer {
		value.Set(reflect.New(value.Type().Elem()))
		value = value.Elem()
	}
	s.fill(value, depth+1)
}

// fillInterface puts one of the registered types into an interface.
func (s source) fillInterface(value reflect.Value, depth int) {
	choices := contents[value.Type()]
	content := reflect.New(choices[s.Intn(len(choices))]).Elem()
	s.fillElement(content, depth)
	if content.Kind() != reflect.Map || !content.IsNil() {
		value.Set(content)
	}
}

// count is how many elements something has.
func (s source) count() int {
	if s.full {
		return 1 + s.Intn(3)
	}
	return s.Intn(4)
}

// bits are 64 bits of a number of any size, with the bounds of each size being likely.
func (s source) bits() uint64 {
	shift := uint(s.Intn(64))
	switch s.Intn(4) {
	case 0:
		return 0
	case 1:
		return math.MaxUint64 << shift
	case 2:
		return math.MaxUint64 >> shift
	}
	return s.Uint64() >> shift << uint(s.Intn(8))
}

func (s source) float() float64 {
	special := []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 1, -17.5}
	if s.Intn(2) == 0 {
		return special[s.Intn(len(special))]
	}
	return float64(float32(s.NormFloat64()))
}

// bytes are text or not, of any length around the bounds of its encoding.
func (s source) bytes() []byte {
	data := make([]byte, []int{0, 1, 3, 20, 127, 128, 300}[s.Intn(7)])
	s.Read(data)
	if s.Intn(2) == 0 {
		return []byte(string([]rune(string(data))))
	}
	return data
}

// time is an instant in a zone of any kind that can be sent.
func (s source) time() time.Time {
	instant := time.Unix(s.Int63n(1<<40)-1<<39, s.Int63n(1e9))
	switch s.Intn(5) {
	case 0:
		return time.Time{}
	case 1:
		return instant.UTC()
	case 2:
		return time.Unix(-62135596800+s.Int63n(1000), s.Int63n(2)).UTC()
	case 3:
		return instant.In(time.FixedZone("", (s.Intn(1000)+1)*60))
	}
	return instant.In(time.FixedZone("", -s.Intn(50000)-61))
}
