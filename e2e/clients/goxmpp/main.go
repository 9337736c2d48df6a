// Command goxmpp is a client that signs in with go-xmpp, by SASL2 where it is offered, and says how that went in one line of JSON.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/xmppo/go-xmpp"
)

func main() {
	var o xmpp.Options
	flag.StringVar(&o.Host, "host", "", "address of the port with direct TLS")
	flag.StringVar(&o.User, "user", "", "bare JID")
	flag.StringVar(&o.Password, "password", "", "")
	flag.StringVar(&o.UserAgentID, "client", "", "a UUID")
	flag.StringVar(&o.FastToken, "token", "", "")
	flag.StringVar(&o.FastMechanism, "token-mechanism", "", "")
	flag.BoolVar(&o.FastInvalidate, "invalidate", false, "")
	ca := flag.String("ca", "", "file with the authority's certificate")
	flag.Parse()
	pem, err := os.ReadFile(*ca)
	if err != nil {
		fail(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	o.TLSConfig = &tls.Config{RootCAs: pool, ServerName: "localhost"}
	o.Fast, o.SSDP, o.NoPLAIN, o.UserAgentSW = true, true, true, "goxmpp"
	c, err := o.NewClient()
	if err != nil {
		fail(err)
	}
	json.NewEncoder(os.Stdout).Encode(map[string]string{"jid": c.JID(), "mechanism": c.Mechanism, "token": c.Fast.Token,
		"tokenMechanism": c.Fast.Mechanism})
	c.Close()
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "goxmpp:", err)
	os.Exit(1)
}
