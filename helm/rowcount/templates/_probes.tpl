{{/*
Probes ask for the process and its ports, never for PostgreSQL, Redis or the lease: a standby is ready. The kubelet speaks
gRPC in plaintext only, so with TLS on that port it asks the ops port, where no probe needs a certificate or a token.
*/}}

{{- define "rowcount.probes" -}}
startupProbe:
  {{- include "rowcount.probe" (dict "root" . "page" "/readyz" "service" "") | nindent 2 }}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  {{- include "rowcount.probe" (dict "root" . "page" "/livez" "service" "liveness") | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  {{- include "rowcount.probe" (dict "root" . "page" "/readyz" "service" "") | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{- define "rowcount.probe" -}}
{{- $values := .root.Values -}}
{{- if $values.grpc.tls.existingSecret -}}
httpGet:
  path: {{ .page }}
  port: http
  scheme: {{ ternary "HTTPS" "HTTP" (ne $values.http.tls.existingSecret "") }}
{{- else -}}
grpc:
  port: {{ int $values.grpc.port }}
  {{- with .service }}
  service: {{ . }}
  {{- end }}
{{- end -}}
{{- end -}}
