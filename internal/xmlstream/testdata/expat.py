"""Parses documents with libexpat for expat_test.go.

On standard input: documents, each behind its length. On standard output for each of them: a reply behind its length.
Lengths are four bytes, big-endian. A reply is a list of records: a letter and a list of strings, each behind its
length, the number of them before. The records are

    S name, then names and values of attributes in turn     start of an element
    E                                                       end of an element
    T text                                                  character data
    R what                                                  something RFC 6120 section 11.1 restricts
    D version, encoding                                     XML declaration
    X message                                               the document is not well-formed

A name is its namespace name and its local name with \\x01 between, or its local name alone. Namespace declarations are
not among the attributes.
"""
import struct
import sys
import xml.parsers.expat as expat


def parse(document):
    out = []

    def record(kind, *strings):
        out.append(kind)
        out.append(struct.pack(">I", len(strings)))
        for s in strings:
            b = s.encode("utf-8")
            out.append(struct.pack(">I", len(b)))
            out.append(b)

    p = expat.ParserCreate(namespace_separator="\x01")
    p.ordered_attributes = True
    p.buffer_text = True
    p.StartElementHandler = lambda name, attrs: record(b"S", name, *attrs)
    p.EndElementHandler = lambda name: record(b"E")
    p.CharacterDataHandler = lambda text: record(b"T", text)
    p.CommentHandler = lambda text: record(b"R", "comment")
    p.ProcessingInstructionHandler = lambda target, data: record(b"R", "processing instruction")
    p.StartDoctypeDeclHandler = lambda *args: record(b"R", "document type declaration")
    p.XmlDeclHandler = lambda version, encoding, standalone: record(b"D", version or "", encoding or "")
    try:
        p.Parse(document, True)
    except expat.ExpatError as e:
        record(b"X", expat.ErrorString(e.code))
    except (LookupError, ValueError) as e:  # raised for an unknown encoding
        record(b"X", str(e))
    return b"".join(out)


def main():
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = stdin.read(4)
        if len(head) < 4:
            return
        reply = parse(stdin.read(struct.unpack(">I", head)[0]))
        stdout.write(struct.pack(">I", len(reply)))
        stdout.write(reply)
        stdout.flush()


main()
