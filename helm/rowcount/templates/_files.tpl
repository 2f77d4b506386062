{{/*
Everything that is mounted at /etc/rowcount: the configuration, and what it names. Secrets are files only, so they are in
no ConfigMap, in no environment and in no command line, and a rotated one arrives without a restart.
*/}}

{{/* One file of a volume; {ref, path}. A ref has existingSecret or existingConfigMap, and key. */}}
{{- define "rowcount.file" -}}
{{- $configMap := get .ref "existingConfigMap" -}}
{{- if $configMap }}
- configMap:
    name: {{ $configMap }}
    items:
      - {key: {{ .ref.key | quote }}, path: {{ .path | quote }}}
{{- else if .ref.existingSecret }}
- secret:
    name: {{ .ref.existingSecret }}
    items:
      - {key: {{ .ref.key | quote }}, path: {{ .path | quote }}}
{{- end }}
{{- end -}}

{{/* A certificate and its key; {ref, dir}. */}}
{{- define "rowcount.certificateFiles" -}}
{{- if .ref.existingSecret }}
- secret:
    name: {{ .ref.existingSecret }}
    items:
      - {key: {{ .ref.certificateKey | quote }}, path: {{ .dir }}/tls.crt}
      - {key: {{ .ref.privateKeyKey | quote }}, path: {{ .dir }}/tls.key}
{{- end }}
{{- end -}}

{{/* Whether a ref names anything: "true" or nothing. */}}
{{- define "rowcount.isGiven" -}}
{{- if or .existingSecret (get . "existingConfigMap") -}}true{{- end -}}
{{- end -}}

{{/* The sources of the volume. */}}
{{- define "rowcount.files" -}}
- configMap:
    name: {{ include "rowcount.fullname" . }}
{{- with .Values.database }}
{{- include "rowcount.file" (dict "ref" .url "path" "database/url") }}
{{- include "rowcount.file" (dict "ref" .password "path" "database/password") }}
{{- include "rowcount.file" (dict "ref" .ca "path" "database/ca.crt") }}
{{- include "rowcount.certificateFiles" (dict "ref" .clientCertificate "dir" "database") }}
{{- end }}
{{- with .Values.redis.cache }}
{{- include "rowcount.file" (dict "ref" .password "path" "redis/password") }}
{{- include "rowcount.file" (dict "ref" .sentinelPassword "path" "redis/sentinel-password") }}
{{- include "rowcount.file" (dict "ref" .tls.ca "path" "redis/ca.crt") }}
{{- end }}
{{- range $port := list "grpc" "http" }}
{{- with (get $.Values $port).tls }}
{{- include "rowcount.certificateFiles" (dict "ref" . "dir" $port) }}
{{- include "rowcount.file" (dict "ref" .clientCAs "path" (printf "%s/client-ca.crt" $port)) }}
{{- end }}
{{- end }}
{{- range .Values.auth.tokens }}
{{- include "rowcount.file" (dict "ref" . "path" (printf "tokens/%s" .name)) }}
{{- end }}
{{- with .Values.rates.prometheus }}
{{- include "rowcount.file" (dict "ref" .token "path" "prometheus/token") }}
{{- include "rowcount.file" (dict "ref" .password "path" "prometheus/password") }}
{{- include "rowcount.file" (dict "ref" .tls.ca "path" "prometheus/ca.crt") }}
{{- include "rowcount.certificateFiles" (dict "ref" .tls.clientCertificate "dir" "prometheus") }}
{{- end }}
{{- end -}}
