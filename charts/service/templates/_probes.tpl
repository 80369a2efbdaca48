{{/* Probes: startup until warm, then readiness, and a liveness probe with a long timeout. */}}
{{- define "service.probes" -}}
{{- $probe := .Values.probe }}
startupProbe:
  {{- include "service.check" (list . $probe.readyPath) | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ div (add $probe.startupTimeoutSeconds 4) 5 }}
readinessProbe:
  {{- include "service.check" (list . $probe.readyPath) | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  {{- include "service.check" (list . $probe.livePath) | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: {{ div (add $probe.livenessTimeoutSeconds 9) 10 }}
{{- end }}

{{- define "service.check" -}}
{{- $root := index . 0 }}
{{- if eq $root.Values.probe.type "grpc" -}}
grpc: {port: {{ include "service.healthPort" $root }}}
{{- else -}}
httpGet: {path: {{ index . 1 }}, port: {{ $root.Values.probe.port }}}
{{- end }}
{{- end }}
