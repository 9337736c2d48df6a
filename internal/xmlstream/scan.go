package xmlstream

import "math/bits"

// The functions of this file skip bytes that need no thought. All may stop before a byte that needs none either, so
// what they stop at is looked up in a table.

// skipText gives the index of the first byte of s from i on that matters in character data: what is not printable ASCII,
// and '&', '<', '>' and ']'. It looks at eight bytes at a time, in one word, and at none where there are not so many.
func skipText[T string | []byte](s T, i int) int {
	for ; i+8 <= len(s); i += 8 {
		x := load(s[i : i+8])
		found := (x | below(x, ' ') | below(x^ones*'&', 1) | below(x&^(ones*2)^ones*'<', 1) | below(x^ones*']', 1)) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	return i
}

// skipValue is skipText for attribute values, where quotes matter and ']' does not. It stops at spaces and all up to the
// apostrophe: they are rare in addresses and identifiers.
func skipValue[T string | []byte](s T, i int) int {
	for ; i+8 <= len(s); i += 8 {
		x := load(s[i : i+8])
		found := (x | below(x, '\''+1) | below(x&^(ones*2)^ones*'<', 1)) & highs
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	return i
}

// skipWide gives the index of the first byte of s from i on that is not part of a space or a character of two or three
// bytes. It also stops at some of these: those that begin with E0, ED or EF.
func skipWide[T string | []byte](s T, i int) int {
	for i+2 < len(s) {
		switch c := s[i]; {
		case c == ' ':
			i++
		case c >= 0xC2 && c <= 0xDF && s[i+1]&0xC0 == 0x80:
			i += 2
		case c > 0xE0 && c < 0xED && s[i+1]&0xC0 == 0x80 && s[i+2]&0xC0 == 0x80:
			i += 3
		default:
			return i
		}
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// load gives eight bytes as a number, the first one lowest.
func load[T string | []byte](s T) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// below sets the highest bit of the lowest byte of x that is below c, if all bytes under it have their highest bit clear:
// then the subtraction borrows nothing from it. About the bytes above it says nothing.
func below(x uint64, c byte) uint64 { return x - ones*uint64(c) }
