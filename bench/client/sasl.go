package client

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/xdg-go/scram"
)

// Password is what every user of the generator signs in with.
const Password = "secret"

// scram signs in with SCRAM (RFC 5802) without channel binding.
func (c *Client) scram() error {
	hash := scram.SHA256
	if c.cfg.Mechanism == "SCRAM-SHA-1" {
		hash = scram.SHA1
	}
	user, err := hash.NewClient(c.User, Password, "")
	if err != nil {
		return err
	}
	conv := user.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return err
	}
	open := "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + c.cfg.Mechanism + "'>" + encode(first) + "</auth>"
	if err := c.Send([]byte(open)); err != nil {
		return err
	}
	challenge, err := c.expect("<challenge", "")
	if err != nil {
		return err
	}
	proof, err := step(conv, challenge)
	if err != nil {
		return err
	}
	if err := c.Send([]byte("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + encode(proof) + "</response>")); err != nil {
		return err
	}
	success, err := c.expect("<success", "")
	if err != nil {
		return err
	}
	if _, err := step(conv, success); err != nil {
		return err
	}
	if !conv.Valid() {
		return errors.New("the server did not prove that it knows the password")
	}
	return nil
}

func step(conv *scram.ClientConversation, item []byte) (string, error) {
	in, err := base64.StdEncoding.DecodeString(string(text(item)))
	if err != nil {
		return "", fmt.Errorf("%s: %w", item, err)
	}
	return conv.Step(string(in))
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// text returns what stands between an item's first tag and the next one.
func text(item []byte) []byte {
	start := tagEnd(item, 0)
	if start < 0 {
		return nil
	}
	for i := start; i < len(item); i++ {
		if item[i] == '<' {
			return item[start:i]
		}
	}
	return nil
}
