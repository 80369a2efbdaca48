{{/* Every environment variable that is not secret. */}}
{{- define "service.settings" -}}
{{- $global := .Values.global }}
{{- $prefix := printf "POLYPHONY_%s_" (.Chart.Name | upper | replace "-" "_") }}
{{- $all := dict }}
{{- if .Values.chassis }}
  {{- $_ := set $all "POLYPHONY_PROFILE" $global.profile }}
  {{- $_ := set $all "POLYPHONY_LOG_LEVEL" $global.logLevel }}
  {{- $_ := set $all "POLYPHONY_DRAIN_TIMEOUT_SECONDS" (toString .Values.drainTimeoutSeconds) }}
  {{- range $name, $port := .Values.ports }}
    {{- $field := ternary "PORT" (printf "%s_PORT" (upper $name)) (eq $name "grpc") }}
    {{- $_ := set $all (printf "%s%s" $prefix $field) (toString $port) }}
  {{- end }}
  {{- if or $global.catalogue.models $global.catalogue.profiles }}
    {{- $_ := set $all "POLYPHONY_CATALOGUE" "/etc/polyphony/catalogue" }}
  {{- end }}
  {{- with $global.traces.endpoint }}
    {{- $_ := set $all "POLYPHONY_OTLP_ENDPOINT" . }}
    {{- $_ := set $all "POLYPHONY_OTLP_SAMPLE_RATIO" (toString $global.traces.sampleRatio) }}
  {{- end }}
  {{- if $global.tls.enabled }}
    {{- $_ := set $all "POLYPHONY_TLS_CERTIFICATE_FILE" "/etc/polyphony/tls/tls.crt" }}
    {{- $_ := set $all "POLYPHONY_TLS_KEY_FILE" "/etc/polyphony/tls/tls.key" }}
    {{- $_ := set $all "POLYPHONY_TLS_CA_FILE" "/etc/polyphony/tls/ca.crt" }}
    {{- $_ := set $all "POLYPHONY_HEALTH_PORT" (include "service.healthPort" .) }}
  {{- end }}
{{- end }}
{{- if has "weights" .Values.needs }}
  {{- if and .Values.chassis $global.weights.mirrorUrl }}{{ $_ := set $all "POLYPHONY_FLEET_WEIGHTS_MIRROR_URL" $global.weights.mirrorUrl }}{{ end }}
  {{- with $global.weights.hubEndpoint }}{{ $_ := set $all "HF_ENDPOINT" . }}{{ end }}
{{- end }}
{{- if has "objects" .Values.needs }}
  {{- if and .Values.chassis $global.objects.url }}{{ $_ := set $all "POLYPHONY_OBJECT_STORE" $global.objects.url }}{{ end }}
{{- end }}
{{- if or (include "service.s3Objects" .) (include "service.s3Weights" .) }}
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

{{/* Not empty if the application stores media in S3. */}}
{{- define "service.s3Objects" -}}
{{ if and (has "objects" .Values.needs) (hasPrefix "s3://" .Values.global.objects.url) }}yes{{ end }}
{{- end }}

{{/* Not empty if its init container reads weights from S3; other servers pull their own weights. */}}
{{- define "service.s3Weights" -}}
{{- $weights := .Values.global.weights }}
{{- if and .Values.chassis (has "weights" .Values.needs) (or $weights.secret (hasPrefix "s3://" $weights.mirrorUrl)) }}yes{{ end }}
{{- end }}
