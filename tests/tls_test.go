package tests

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestUnknownCA: E14: a server whose certificate nobody has signed is not believed; what is said names the cause and the way out, and that
// way works. The certificates of the system are trusted anyway: SSL_CERT_FILE stands for them here.
func TestUnknownCA(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1000)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.WriteHeader(http.StatusForbidden) // whoever comes here has believed the certificate
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	m := newMachine(t)
	m.env = append(m.env, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=y")
	url := "s3://" + strings.TrimPrefix(s.URL, "https://") + "/bucket?style=path&region=x"
	ca := m.path("ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}

	r := m.run("init", "--new-key-file", m.path("key"), url)
	if r.code == 0 || len(asked) > 0 || r.took.Seconds() > 20 {
		t.Errorf("a server that nobody knows: %v", r)
	}
	r.says("certificate", "unknown authority", "hint: ", "?ca=FILE")
	for name, trusting := range map[string]func() result{
		"ca=":              func() result { return m.run("init", "--new-key-file", m.path("key"), url+"&ca="+ca) },
		"the system's own": func() result { return m.with("SSL_CERT_FILE="+ca).run("init", "--new-key-file", m.path("key"), url) },
	} {
		trusting := trusting()
		if trusting.code == 0 || len(asked) == 0 || strings.Contains(trusting.stderr, "unknown authority") {
			t.Errorf("%s: %v", name, trusting)
		}
		for len(asked) > 0 {
			<-asked
		}
	}
}
