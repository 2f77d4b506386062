{{/* What ServiceMonitor and PodMonitor share. Both set the job to the full name, so rules and dashboards know one name. */}}

{{/* {root, monitor} */}}
{{- define "rowcount.monitorEndpoint" -}}
{{- $root := .root -}}
{{- $tls := $root.Values.http.tls -}}
port: http
path: /metrics
scheme: {{ ternary "https" "http" (ne $tls.existingSecret "") }}
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with include "rowcount.monitorToken" . }}
authorization:
  credentials:
    {{- . | nindent 4 }}
{{- end }}
{{- if $tls.existingSecret }}
tlsConfig:
  {{- if .monitor.tlsConfig }}
  {{- toYaml .monitor.tlsConfig | nindent 2 }}
  {{- else }}
  serverName: {{ include "rowcount.host" $root }}
  {{- with $tls.caKey }}
  ca:
    secret:
      name: {{ $tls.existingSecret }}
      key: {{ . }}
  {{- end }}
  {{- end }}
{{- end }}
relabelings:
  - targetLabel: job
    replacement: {{ include "rowcount.fullname" $root }}
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The Secret and key of the token to scrape with: the one that is named, else the first that may only read. */}}
{{- define "rowcount.monitorToken" -}}
{{- $name := .monitor.token -}}
{{- $found := dict -}}
{{- range .root.Values.auth.tokens -}}
{{- if and (empty $found) (or (eq .name $name) (and (empty $name) (eq .role "read"))) -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- with $found -}}
name: {{ .existingSecret }}
key: {{ .key }}
{{- end -}}
{{- end -}}
