{{/* Pods of this release. */}}
{{- define "polyphony.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/instance: {{ .Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end }}

{{/* The names of what an application may reach outside of the release, as JSON. */}}
{{- define "service.destinations" -}}
{{- $global := .Values.global }}
{{- $names := list "dns" }}
{{- if and .Values.chassis $global.traces.endpoint }}{{ $names = append $names "traces" }}{{ end }}
{{- if include "service.s3Weights" . }}{{ $names = append $names "objects" }}{{ end }}
{{- $absent := list }}
{{- if not $global.objects.url }}{{ $absent = append $absent "objects" }}{{ end }}
{{- if not (or $global.database.secret $global.database.trial.enabled) }}{{ $absent = append $absent "database" }}{{ end }}
{{- range .Values.uses }}
  {{- if not (has . $absent) }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- toJson (uniq $names) }}
{{- end }}

{{/* One destination as an egress rule: its peers, or every public address. */}}
{{- define "polyphony.arrow" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $network := $root.Values.global.network }}
{{- $row := get $network.destinations $name }}
{{- if not (and $network.cilium $row.names) -}}
- to:
    {{- if and (eq $name "database") $root.Values.global.database.trial.enabled }}
    - podSelector: {matchLabels: {cnpg.io/cluster: {{ $root.Release.Name }}-postgres}}
    {{- else if $row.to }}
    {{- toYaml $row.to | nindent 4 }}
    {{- else }}
    - ipBlock: {cidr: 0.0.0.0/0, except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]}
    - ipBlock: {cidr: "::/0", except: ["fc00::/7", "fe80::/10"]}
    {{- end }}
  ports:
    {{- range $row.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- if eq $name "dns" }}
    - {protocol: UDP, port: {{ . }}}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
