package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"rollcall/internal/store"
)

// The columns of a CSV file. Its first line names those that it has, in any order.
const (
	columnJID      = "jid"           // user@host
	columnPassword = "password"      // in clear; never written
	columnSHA1     = "scram-sha-1"   // keys, see keysText
	columnSHA256   = "scram-sha-256" // keys
	columnDisabled = "disabled"      // true or false; "" is false
	columnRole     = "role"          // user or admin; "" is that of the account there is, or user
)

// maxLine bounds a line of a CSV file, with a field that has lines itself.
const maxLine = 64 << 10

var bom = []byte("\xef\xbb\xbf")

// ImportCSV reads users from a CSV file. Columns that are not known are counted as left.
func (im *Importer) ImportCSV(ctx context.Context, name string, in io.Reader) error {
	limited := &budget{in: in, left: maxLine}
	buffered := bufio.NewReader(limited)
	if head, _ := buffered.Peek(len(bom)); bytes.Equal(head, bom) {
		_, _ = buffered.Discard(len(bom))
	}
	r := csv.NewReader(buffered)
	r.ReuseRecord = true
	limited.left = maxLine
	head, err := r.Read()
	if err != nil {
		return csvError(name, err)
	}
	columns, err := im.columns(head)
	if err != nil {
		return at(name+":1", err)
	}
	for {
		limited.left = maxLine
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := r.FieldPos(0)
			im.fail(name+":"+strconv.Itoa(line), fmt.Errorf("the line has %d fields, and the first one %d", len(fields), len(columns)))
			continue
		}
		if err != nil {
			return csvError(name, err)
		}
		line, _ := r.FieldPos(0)
		where := name + ":" + strconv.Itoa(line)
		one, err := im.row(columns, fields)
		if err != nil {
			im.fail(where, err)
			continue
		}
		one.where = where
		if err := im.add(ctx, one); err != nil {
			return err
		}
	}
}

// csvError says where a file is no CSV.
func csvError(name string, err error) error {
	var p *csv.ParseError
	switch {
	case errors.As(err, &p):
		return at(fmt.Sprintf("%s:%d:%d", name, p.Line, p.Column), p.Err)
	case errors.Is(err, io.EOF):
		return at(name, errors.New("the file is empty; its first line names the columns, such as jid,password"))
	}
	return at(name, err)
}

func (im *Importer) columns(head []string) ([]string, error) {
	columns := make([]string, len(head))
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		if name != "" && slices.Contains(columns, name) {
			return nil, fmt.Errorf("there are two columns %q", name)
		}
		columns[i] = name
	}
	if !slices.Contains(columns, columnJID) {
		return nil, errors.New("the first line names the columns, and jid is one of them: jid,password or jid,scram-sha-1,scram-sha-256,disabled,role")
	}
	return columns, nil
}

// row reads a user. No field is in an error: in a file whose columns stand otherwise than its first line says, any may be a password.
func (im *Importer) row(columns, fields []string) (*record, error) {
	r := &record{taken: Counts{}}
	for i, field := range fields {
		var err error
		switch columns[i] {
		case columnJID:
			local, domain, ok := strings.Cut(field, "@")
			if !ok {
				return nil, errors.New("jid is no address; write user@host")
			}
			r.user, r.host, err = im.user(local, domain)
		case columnPassword:
			r.password = strings.Clone(field)
		case columnSHA1:
			r.account.Credentials.SHA1, err = parseKeys("SCRAM-SHA-1", field)
		case columnSHA256:
			r.account.Credentials.SHA256, err = parseKeys("SCRAM-SHA-256", field)
		case columnDisabled:
			if field != "" {
				if r.account.Disabled, err = strconv.ParseBool(field); err != nil {
					err = errors.New("disabled is true or false")
				}
			}
		case columnRole:
			if r.account.Role = store.Role(field); field != "" && !r.account.Role.Known() {
				err = errors.New("role is user or admin")
			}
		default:
			if field != "" {
				im.report.Left.add(fmt.Sprintf("fields of the column %.40q", columns[i]), 1)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// parseKeys reads what keysText writes; "" has no keys.
func parseKeys(mechanism, text string) (k store.Keys, err error) {
	if text == "" {
		return k, nil
	}
	scheme, rest, _ := strings.Cut(text, "$")
	info, value, _ := strings.Cut(rest, "$")
	iterations, salt, _ := strings.Cut(info, ":")
	storedKey, serverKey, ok := strings.Cut(value, ":")
	if !ok || !strings.EqualFold(scheme, mechanism) {
		return k, fmt.Errorf("the keys are to be written as %s$ITERATIONS:SALT$STOREDKEY:SERVERKEY, with base64 (RFC 5803)", mechanism)
	}
	return decodeKeys(mechanism, iterations, salt, storedKey, serverKey)
}

// decodeKeys reads keys whose parts are base64.
func decodeKeys(mechanism, iterations, salt, storedKey, serverKey string) (k store.Keys, err error) {
	if k.Iterations, err = strconv.Atoi(iterations); err != nil {
		return k, fmt.Errorf("there is no number of iterations in the keys for %s", mechanism)
	}
	var errs [3]error
	k.Salt, errs[0] = base64.StdEncoding.DecodeString(salt)
	k.StoredKey, errs[1] = base64.StdEncoding.DecodeString(storedKey)
	k.ServerKey, errs[2] = base64.StdEncoding.DecodeString(serverKey)
	if errors.Join(errs[:]...) != nil {
		return k, fmt.Errorf("the salt and the keys for %s are not all base64", mechanism)
	}
	return k, nil
}

// keysText writes keys as an authPassword of RFC 5803 section 3.1 has them, scheme "$" authInfo "$" authValue.
func keysText(mechanism string, k store.Keys) string {
	if len(k.StoredKey) == 0 {
		return ""
	}
	b := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", mechanism, k.Iterations, b(k.Salt), b(k.StoredKey), b(k.ServerKey))
}

// ExportCSV writes the accounts of hosts, with keys and without passwords, which nobody has. It tells how many.
func ExportCSV(ctx context.Context, out io.Writer, s *store.Store, hosts []string) (n int, err error) {
	w := csv.NewWriter(out)
	if err := w.Write([]string{columnJID, columnDisabled, columnRole, columnSHA1, columnSHA256}); err != nil {
		return 0, err
	}
	for _, host := range hosts {
		for a, err := range s.Accounts(ctx, host) {
			if err != nil {
				return n, err
			}
			c := a.Credentials
			if err := w.Write([]string{a.Username + "@" + a.Host, strconv.FormatBool(a.Disabled), string(a.Role),
				keysText("SCRAM-SHA-1", c.SHA1), keysText("SCRAM-SHA-256", c.SHA256)}); err != nil {
				return n, err
			}
			n++
		}
	}
	w.Flush()
	return n, w.Error()
}

// A budget refuses to read much for one thing: who reads sets what is left before each.
type budget struct {
	in   io.Reader
	left int
}

var errTooLong = errors.New("a line, or a name or text of XML, is longer than anything that is of use here")

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.in.Read(p)
	b.left -= n
	return n, err
}
