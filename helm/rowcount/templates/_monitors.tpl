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

{{/* The Secret and key of the token to scrape with: the one that is named, else the one to read with. */}}
{{- define "rowcount.monitorToken" -}}
{{- $name := .monitor.token -}}
{{- $found := include "rowcount.readToken" .root | fromJson -}}
{{- range .root.Values.auth.tokens -}}
{{- if and $name (eq .name $name) -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- with $found -}}
name: {{ .existingSecret }}
key: {{ .key }}
{{- end -}}
{{- end -}}
