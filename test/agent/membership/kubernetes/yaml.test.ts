import test from 'ava';
import {parseYaml} from '../../../../agent/membership/kubernetes/yaml.ts';

test('what kubectl and kubeadm write', (t) => {
  t.deepEqual(
    parseYaml(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: QUJD
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: system:node:a
  name: system:node:a@kubernetes
current-context: system:node:a@kubernetes
kind: Config
preferences: {}
users:
- name: system:node:a
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: "/var/lib/kubelet/pki/kubelet-client-current.pem"
`),
    [
      {
        apiVersion: 'v1',
        clusters: [
          {
            cluster: {'certificate-authority-data': 'QUJD', server: 'https://10.0.0.1:6443'},
            name: 'kubernetes',
          },
        ],
        contexts: [
          {context: {cluster: 'kubernetes', user: 'system:node:a'}, name: 'system:node:a@kubernetes'},
        ],
        'current-context': 'system:node:a@kubernetes',
        kind: 'Config',
        preferences: {},
        users: [
          {
            name: 'system:node:a',
            user: {
              'client-certificate': '/var/lib/kubelet/pki/kubelet-client-current.pem',
              'client-key': '/var/lib/kubelet/pki/kubelet-client-current.pem',
            },
          },
        ],
      },
    ],
  );
});

test('documents, comments, literal blocks, lists in lists and in one line', (t) => {
  t.deepEqual(
    parseYaml(`# a manifest
---
kind: ConfigMap # of ours
data:
  a.json: |
    {
      "a": [1]
    }

  b: |-
    # no comment
    x
  empty:
verbs: ["get", "list"]
---
items:
  - 1
  - - two
    - 'it''s'
  -
    a: true
    b: null
  - c: -1.5
    d: "x: y # z"
text: a value # with a comment
time: 10:30
quoted: '5'
`),
    [
      {
        kind: 'ConfigMap',
        data: {'a.json': '{\n  "a": [1]\n}\n', b: '# no comment\nx', empty: null},
        verbs: ['get', 'list'],
      },
      {
        items: [1, ['two', "it's"], {a: true, b: null}, {c: -1.5, d: 'x: y # z'}],
        text: 'a value',
        time: '10:30',
        quoted: '5',
      },
    ],
  );
  t.deepEqual(parseYaml(''), []);
  t.deepEqual(parseYaml('# nothing\n---\n'), []);
});

const refused = [
  ['a: &x 1', /^line 1 \("a: &x 1"\) uses what this reader does not know/],
  ['a: [x, y]', /^line 1 .* in brackets that is not JSON/],
  ['a: 1\n  b: 2', /^line 2 .* is indented more than its neighbours/],
  ['  a: 1\nb: 2', /^line 2 .* is indented less/],
  ['a: 1\nb', /^line 2 \("b"\) is no "key: value"/],
  ['a: "x', /^line 1 .* uses what this reader does not know/],
] as const;

for (const [text, message] of refused)
  test(`refused: ${JSON.stringify(text)}`, (t) => {
    t.throws(() => parseYaml(text), {message});
  });
