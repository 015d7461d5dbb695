package source

import (
	"testing"
)

const seafile = `source: seafile
vars:
  home: /opt/seafile   # where Seafile is installed
  port: 8082
  dbs: [ccnet_db, seafile_db]
schedule: "0 3 * * *"
parts:
  - name: db
    mariadb: {databases: "${dbs}", user: seafile, password: {credential: seafile-db}}
  - tree: {path: "${home}/seafile-data", exclude: [httptemp, tmpfiles]}
  - name: conf
    class: config
    tree:
      path: ${home}/conf
guards:
  restore: [{port_closed: "${port}"}]
hooks:
  before: [{shell: "systemctl stop seafile"}]
  finally: [{run: [systemctl, start, seafile], timeout: 2m}]
restore:
  runbook: |
    First this,
    then that with $${this}.
  steps:
    - run: ["${home}/seaf-fsck.sh"]
`

func TestQuick(t *testing.T) {
	f, err := Parse("x.yaml", []byte(seafile), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n----\n%s", Marshal(f), Expanded(f))
	_, err = Parse("x.yaml", []byte(`source: bad
vars: {hom: /x, db_password: foo}
schedul: x
parts:
  - tree: {path: "${home}/x", exclud: [a]}
  - tree: {path: rel, class: x}
  - postgres: {databases: all, password: hunter2, port: abc}
  - command: {run: pg_dump foo, file: a/b}
  - name: "é"
    class: nevr
    tree: {path: /srv}
  - tree: {path: /srv/x}
hooks:
  before: {run: [x]}
`), ParseOptions{})
	t.Logf("%v", err)
}
