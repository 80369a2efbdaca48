{{/* Demanded engine seconds a second that one pod is to have: thousandths. */}}
{{- define "service.target" -}}
{{ round (mulf .Values.autoscaling.enginesPerPod .Values.autoscaling.targetUtilization 1000) 0 }}m
{{- end }}

{{- define "service.scaled" -}}
apiVersion: apps/v1
kind: {{ include "service.kind" . }}
name: {{ include "service.fullname" . }}
{{- end }}

{{- define "service.scalable" -}}
{{- if not .Values.global.monitoring.enabled }}
  {{- fail (printf "%s.autoscaling.type is %s, which scales on what Prometheus measures: set global.monitoring.enabled" .Chart.Name .Values.autoscaling.type) }}
{{- end }}
{{- if eq .Chart.Name "gateway" }}
  {{- fail "gateway.autoscaling: the gateway owns no engine, and counts no demand of its own: set gateway.replicas" }}
{{- end }}
{{- if and (not .Values.chassis) (not (and (eq .Values.autoscaling.type "keda") .Values.autoscaling.offeredLoadOf)) }}
  {{- fail (printf "%s.autoscaling: it counts no demand of its own: type keda, and offeredLoadOf the service that calls it" .Chart.Name) }}
{{- end }}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) }}
  {{- fail (printf "%s.autoscaling.minReplicas exceeds its maxReplicas" .Chart.Name) }}
{{- end }}
{{- end }}
