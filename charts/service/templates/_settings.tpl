{{/* Every variable that is no secret. */}}
{{- define "service.settings" -}}
{{- $global := .Values.global }}
{{- $prefix := printf "POLYPHONY_%s_" (.Chart.Name | upper | replace "-" "_") }}
{{- $all := dict }}
{{- if .Values.chassis }}
  {{- $_ := set $all "POLYPHONY_PROFILE" $global.profile }}
  {{- $_ := set $all "POLYPHONY_LOG_LEVEL" $global.logLevel }}
  {{- $_ := set $all "POLYPHONY_DRAIN_SECONDS" (toString .Values.drainSeconds) }}
  {{- range $name, $port := .Values.ports }}
    {{- $field := ternary "PORT" (printf "%s_PORT" (upper $name)) (eq $name "grpc") }}
    {{- $_ := set $all (printf "%s%s" $prefix $field) (toString $port) }}
  {{- end }}
  {{- with $global.traces.endpoint }}
    {{- $_ := set $all "POLYPHONY_OTLP_ENDPOINT" . }}
    {{- $_ := set $all "POLYPHONY_OTLP_SAMPLE_RATIO" (toString $global.traces.sampleRatio) }}
  {{- end }}
  {{- if $global.tls.enabled }}
    {{- $_ := set $all "POLYPHONY_TLS_CERTIFICATE" "/etc/polyphony/tls/tls.crt" }}
    {{- $_ := set $all "POLYPHONY_TLS_KEY" "/etc/polyphony/tls/tls.key" }}
    {{- $_ := set $all "POLYPHONY_TLS_AUTHORITY" "/etc/polyphony/tls/ca.crt" }}
    {{- $_ := set $all "POLYPHONY_HEALTH_PORT" (include "service.healthPort" .) }}
  {{- end }}
{{- end }}
{{- if has "weights" .Values.uses }}
  {{- with $global.weights.mirror }}{{ $_ := set $all "POLYPHONY_FLEET_MIRROR" . }}{{ end }}
  {{- with $global.weights.hubEndpoint }}{{ $_ := set $all "HF_ENDPOINT" . }}{{ end }}
{{- end }}
{{- if has "objects" .Values.uses }}
  {{- with $global.objects.url }}{{ $_ := set $all "POLYPHONY_OBJECT_STORE" . }}{{ end }}
{{- end }}
{{- if include "service.s3" . }}
  {{- with $global.s3.region }}{{ $_ := set $all "AWS_REGION" . }}{{ end }}
  {{- with $global.s3.endpoint }}
    {{- $_ := set $all "AWS_ENDPOINT" . }}
    {{- if hasPrefix "http://" . }}{{ $_ := set $all "AWS_ALLOW_HTTP" "true" }}{{ end }}
  {{- end }}
{{- end }}
{{- range $field, $value := .Values.settings }}
  {{- $text := kindIs "string" $value | ternary (tpl (toString $value) $) (toJson $value) }}
  {{- $_ := set $all (printf "%s%s" $prefix (upper $field)) $text }}
{{- end }}
{{- range $name, $value := .Values.env }}
  {{- $_ := set $all $name (kindIs "string" $value | ternary (tpl (toString $value) $) (toJson $value)) }}
{{- end }}
{{- range $name, $value := $all }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Not empty where the application reads from or writes to S3. */}}
{{- define "service.s3" -}}
{{- $global := .Values.global }}
{{- if and (has "objects" .Values.uses) (hasPrefix "s3://" $global.objects.url) }}yes{{ end }}
{{- if and (has "weights" .Values.uses) (hasPrefix "s3://" $global.weights.mirror) }}yes{{ end }}
{{- end }}
