{{/* Offered load for which one pod is provided, in thousandths of an engine. */}}
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
  {{- fail (printf "%s.autoscaling.type is %s, which needs the metrics of Prometheus: set global.monitoring.enabled" .Chart.Name .Values.autoscaling.type) }}
{{- end }}
{{- if eq .Chart.Name "gateway" }}
  {{- fail "gateway.autoscaling: the gateway has no engines and no offered load: set gateway.replicas" }}
{{- end }}
{{- if and (not .Values.chassis) (not (and (eq .Values.autoscaling.type "keda") .Values.autoscaling.offeredLoadOf)) }}
  {{- fail (printf "%s.autoscaling: it reports no offered load: set type keda and offeredLoadOf to the service that calls it" .Chart.Name) }}
{{- end }}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) }}
  {{- fail (printf "%s.autoscaling.minReplicas exceeds its maxReplicas" .Chart.Name) }}
{{- end }}
{{- end }}
