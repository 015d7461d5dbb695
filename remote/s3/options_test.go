package s3

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cairn/remote"
)

func TestFromURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]Options{
		"s3://h/bucket": {Host: "h", Bucket: "bucket"},
		"s3://h:9000/bucket/p/q?region=eu-1&insecure=1&class=STANDARD_IA&style=path&ca=/ca.pem&profile=x&credentials=/c": {Host: "h:9000", Bucket: "bucket",
			Prefix: "p/q", Region: "eu-1", Insecure: true, StorageClass: "STANDARD_IA", Style: "path", CAFile: "/ca.pem", Profile: "x", CredentialsFile: "/c"},
		"s3://h/bucket?insecure=0": {Host: "h", Bucket: "bucket"},
	} {
		u, err := remote.ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromURL(u)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreFields(Options{}, "Keys")); d != "" {
			t.Errorf("%s: -want +got\n%s", raw, d)
		}
	}
	for _, raw := range []string{
		"s3://h/bucket?regoin=x", "s3://h/bucket?region=a&region=b", "s3://h/bucket?region=", "s3://h/bucket?insecure=yes", "s3://h/bucket?style=virtual",
		"s3://h/bucket?class=cold+storage", "s3://h/b", "s3://h/Bucket_With_/x", "s3://h/192.168.1.1",
	} {
		u, err := remote.ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := FromURL(u); err == nil || !strings.Contains(remote.Hint(err), "ca, class, credentials, insecure, profile, region, style") {
			t.Errorf("%s: %+v, %v, hint %q", raw, o, err, remote.Hint(err))
		}
	}
}

func TestRegion(t *testing.T) {
	for _, test := range []struct{ host, env, def, want string }{
		{"localhost:9000", "", "", "us-east-1"},
		{"localhost:9000", "garage", "x", "garage"},
		{"localhost:9000", "", "x", "x"},
		{"s3.eu-central-1.amazonaws.com", "us-west-2", "", "eu-central-1"},
		{"s3.amazonaws.com", "us-west-2", "", "us-west-2"},
	} {
		t.Setenv("AWS_REGION", test.env)
		t.Setenv("AWS_DEFAULT_REGION", test.def)
		if got := defaultRegion(test.host); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
