{{/* The common part of client pods, which call the gateway. Takes the root. */}}
{{- define "polyphony.clientPod" -}}
{{- $root := .root -}}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
{{- if $root.Values.global.priorityClasses }}
priorityClassName: {{ include "polyphony.priority" (dict "Release" $root.Release "class" "client") }}
{{- end }}
{{- with $root.Values.global.image.pullSecrets }}
imagePullSecrets: {{- range . }}{{ printf "- name: %s" . | nindent 2 }}{{ end }}
{{- end }}
securityContext: {{- include "polyphony.podSecurity" $root | nindent 2 }}
volumes:
  - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
  - {name: home, emptyDir: {sizeLimit: 256Mi}}
{{- end }}

{{/* One container of the tools image. Takes the root. */}}
{{- define "polyphony.clientContainer" -}}
image: {{ include "polyphony.tools" . }}
imagePullPolicy: {{ .Values.global.image.pullPolicy }}
env:
  - {name: POLYPHONY_FLEET_GATEWAY_URL, value: {{ include "polyphony.url" . }}}
  - name: POLYPHONY_FLEET_API_KEY
    valueFrom: {secretKeyRef: {name: {{ .Values.global.apiKeys.existingSecret | default (printf "%s-keys" .Release.Name) }}, key: key}}
resources:
  requests: {cpu: 100m, memory: 256Mi}
  limits: {cpu: "1", memory: 512Mi}
terminationMessagePolicy: FallbackToLogsOnError
securityContext: {{- include "polyphony.containerSecurity" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: home, mountPath: /var/lib/polyphony}
{{- end }}

{{- define "polyphony.url" -}}
http://{{ .Release.Name }}-gateway-http:{{ .Values.gateway.ports.http }}
{{- end }}

{{/* A container that succeeds if all of these services serve. Others may be scaled to zero. */}}
{{- define "polyphony.ready" -}}
{{- $root := index . 0 -}}
name: ready
command: [python, -c]
args:
  - |
    import json, urllib.request
    with urllib.request.urlopen("{{ include "polyphony.url" $root }}/readyz", timeout=30) as answer:
        found = json.load(answer)
    print(found)
    missing = set({{ toJson (index . 1) }}) - {name for name, state in found["services"].items() if state == "serving"}
    raise SystemExit(f"not serving: {sorted(missing)}" if missing else 0)
{{ include "polyphony.clientContainer" $root }}
{{- end }}
