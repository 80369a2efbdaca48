{{/* Pods of this release. */}}
{{- define "polyphony.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/instance: {{ .Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end }}

{{/* The names of the destinations outside of the release that an application may reach, as JSON. */}}
{{- define "service.destinations" -}}
{{- $global := .Values.global }}
{{- $names := list "dns" }}
{{- if and .Values.chassis $global.traces.endpoint }}{{ $names = append $names "traces" }}{{ end }}
{{- if include "service.s3Weights" . }}{{ $names = append $names "objects" }}{{ end }}
{{- $absent := list }}
{{- if not $global.objects.url }}{{ $absent = append $absent "objects" }}{{ end }}
{{- if not (or $global.database.secret $global.database.cloudnativepg.enabled) }}{{ $absent = append $absent "database" }}{{ end }}
{{- range .Values.needs }}
  {{- if not (has . $absent) }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- toJson (uniq $names) }}
{{- end }}

{{/*
A destination as JSON: a list of {ports, to, names}; without `to`, every public address. A row with `to` is used as it
is; else URLs of the values are added to the row, or for objects replace it.
*/}}
{{- define "polyphony.destinationPeers" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $global := $root.Values.global }}
{{- $row := get $global.network.destinations $name | default dict }}
{{- $peers := list }}
{{- if and (eq $name "database") $global.database.cloudnativepg.enabled }}
  {{- $pods := dict "podSelector" (dict "matchLabels" (dict "cnpg.io/cluster" (printf "%s-postgres" $root.Release.Name))) }}
  {{- $peers = list (dict "ports" $row.ports "to" (list $pods)) }}
{{- else if $row.to }}
  {{- $peers = list (omit $row "names") }}
{{- else }}
  {{- $urls := list }}
  {{- if eq $name "objects" }}{{ $urls = list $global.s3.endpoint }}{{ end }}
  {{- if eq $name "traces" }}{{ $urls = list $global.traces.endpoint }}{{ end }}
  {{- if eq $name "pushgateway" }}{{ $urls = list $root.Values.canary.pushgatewayUrl }}{{ end }}
  {{- if eq $name "weights" }}{{ $urls = list $global.weights.hubEndpoint (hasPrefix "http" $global.weights.mirrorUrl | ternary $global.weights.mirrorUrl "") }}{{ end }}
  {{- $urls = compact $urls }}
  {{- if and $row (not (and $urls (eq $name "objects"))) }}{{ $peers = list $row }}{{ end }}
  {{- range $urls }}{{ $peers = append $peers (include "polyphony.urlPeer" . | fromJson) }}{{ end }}
{{- end }}
{{- toJson $peers }}
{{- end }}

{{/* A URL as one such peer: an address, a Service of the cluster (whose pods must listen on the same port), or a public name. */}}
{{- define "polyphony.urlPeer" -}}
{{- $url := urlParse . }}
{{- $labels := splitList "." $url.hostname }}
{{- $peer := dict "ports" (list (regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary 443 80 (eq $url.scheme "https")) | int)) }}
{{- if regexMatch "^[0-9.]+$" $url.hostname }}
  {{- $_ := set $peer "to" (list (dict "ipBlock" (dict "cidr" (printf "%s/32" $url.hostname)))) }}
{{- else if eq (len $labels) 1 }}
  {{- $_ := set $peer "to" (list (dict "podSelector" dict)) }}
{{- else if or (has "svc" $labels) (and (eq (len $labels) 2) (eq $url.scheme "http")) }}
  {{- $_ := set $peer "to" (list (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" (index $labels 1))))) }}
{{- else }}
  {{- $_ := set $peer "names" (list $url.hostname) }}
{{- end }}
{{- toJson $peer }}
{{- end }}

{{/* One destination as egress rules, without those that Cilium allows by name. */}}
{{- define "polyphony.egressRules" -}}
{{- $cilium := (index . 0).Values.global.network.cilium }}
{{- $dns := eq (index . 1) "dns" }}
{{- range include "polyphony.destinationPeers" . | fromJsonArray }}
{{- if not (and $cilium .names) }}
- to:
    {{- with .to }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    - ipBlock: {cidr: 0.0.0.0/0, except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["fc00::/7", "fe80::/10"]}
    {{- end }}
  ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- if $dns }}
    - {protocol: UDP, port: {{ . }}}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}
