package authhttp

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"rollcall/internal/auth"
)

// errKeys does not quote what came: it may be a password.
var errKeys = errors.New("authhttp: get_password was answered with no keys for SCRAM (==MULTI_SCRAM==,… or ==SCRAM==,…); " +
	"if the service gives passwords, set auth.scram = false")

// parseKeys reads what get_password gives, as MongooseIM writes it:
//
//	==MULTI_SCRAM==,4096,===SHA1===salt|stored key|server key,==SHA256==salt|stored key|server key
//	==SCRAM==,stored key,server key,salt,4096
//
// all keys and salts in base64, other hashes passed over. The second form is of SHA-1.
func parseKeys(text string) (c auth.Credentials, err error) {
	if old, ok := strings.CutPrefix(text, "==SCRAM==,"); ok {
		f := strings.Split(old, ",")
		if len(f) != 4 {
			return c, errKeys
		}
		c.SHA1, err = makeKeys(f[2], f[0], f[1], f[3])
		return c, err
	}
	multi, ok := strings.CutPrefix(text, "==MULTI_SCRAM==,")
	iterations, list, more := strings.Cut(multi, ",")
	if !ok || !more {
		return c, errKeys
	}
	for one := range strings.SplitSeq(list, ",") {
		to := &c.SHA1
		fields, ok := strings.CutPrefix(one, "===SHA1===")
		if !ok {
			to = &c.SHA256
			if fields, ok = strings.CutPrefix(one, "==SHA256=="); !ok {
				continue
			}
		}
		f := strings.Split(fields, "|")
		if len(f) != 3 {
			return auth.Credentials{}, errKeys
		}
		if *to, err = makeKeys(f[0], f[1], f[2], iterations); err != nil {
			return auth.Credentials{}, err
		}
	}
	if c.SHA1.Iterations == 0 && c.SHA256.Iterations == 0 {
		return c, errKeys
	}
	return c, nil
}

func makeKeys(salt, stored, server, iterations string) (k auth.Keys, err error) {
	var errs [4]error
	k.Salt, errs[0] = base64.StdEncoding.DecodeString(salt)
	k.StoredKey, errs[1] = base64.StdEncoding.DecodeString(stored)
	k.ServerKey, errs[2] = base64.StdEncoding.DecodeString(server)
	k.Iterations, errs[3] = strconv.Atoi(iterations)
	if errors.Join(errs[:]...) != nil || len(k.Salt) == 0 || k.Iterations <= 0 {
		return auth.Keys{}, errKeys
	}
	return k, nil
}
