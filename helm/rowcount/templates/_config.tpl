{{/* rowcount.yaml. Every setting is written, also one that has its default: what holds is read here, not guessed. */}}

{{- define "rowcount.listener" -}}
{{- $dir := printf "/etc/rowcount/%s" .name -}}
addr: {{ printf "%s:%d" .host (int .section.port) | quote }}
{{- if hasKey .section "reflection" }}
reflection: {{ .section.reflection }}
{{- end }}
{{- with .section.tls }}
tls:
  certificate: {{ ternary (printf "%s/tls.crt" $dir) "" (ne .existingSecret "") | quote }}
  key: {{ ternary (printf "%s/tls.key" $dir) "" (ne .existingSecret "") | quote }}
  clientcas: {{ ternary (list (printf "%s/client-ca.crt" $dir)) list (eq (include "rowcount.isGiven" .clientCAs) "true") | toJson }}
  allowednames: {{ toJson .allowedNames }}
  minimumtls: {{ .minimumTLS }}
{{- end }}
{{- end -}}

{{/* The path of a mounted file, or an empty text; {ref, path}. */}}
{{- define "rowcount.path" -}}
{{- if include "rowcount.isGiven" .ref -}}
{{- printf "/etc/rowcount/%s" .path | quote -}}
{{- else -}}
""
{{- end -}}
{{- end -}}

{{- define "rowcount.config" -}}
cluster: {{ include "rowcount.cluster" . | quote }}
grpc:
  {{- include "rowcount.listener" (dict "name" "grpc" "host" .Values.listenHost "section" .Values.grpc) | nindent 2 }}
http:
  {{- include "rowcount.listener" (dict "name" "http" "host" .Values.listenHost "section" .Values.http) | nindent 2 }}
auth:
  tokens:
    {{- range .Values.auth.tokens }}
    - {name: {{ quote .name }}, role: {{ .role }}, tokenfile: {{ printf "/etc/rowcount/tokens/%s" .name | quote }}}
    {{- else }} []
    {{- end }}
insecure: {{ .Values.insecure }}
{{- with .Values.database }}
database:
  {{- if .url.existingSecret }}
  urlfile: /etc/rowcount/database/url
  {{- else }}
  host: {{ quote .host }}
  port: {{ int .port }}
  user: {{ quote .user }}
  passwordfile: {{ include "rowcount.path" (dict "ref" .password "path" "database/password") }}
  dbname: {{ quote .dbName }}
  sslmode: {{ .sslMode }}
  sslcert: {{ include "rowcount.path" (dict "ref" .clientCertificate "path" "database/tls.crt") }}
  sslkey: {{ include "rowcount.path" (dict "ref" .clientCertificate "path" "database/tls.key") }}
  sslrootcert: {{ include "rowcount.path" (dict "ref" .ca "path" "database/ca.crt") }}
  {{- end }}
  connecttimeout: {{ .connectTimeout }}
  connections: {{ int .connections }}
  metrics:
    enabled: {{ .metrics.enabled }}
    interval: {{ .metrics.interval }}
    leaseduration: {{ .metrics.leaseDuration }}
{{- end }}
{{- with .Values.redis.cache }}
redis:
  cache:
    enabled: {{ .enabled }}
    addr: {{ toJson .addr }}
    mainname: {{ quote .mainName }}
    username: {{ quote .username }}
    passwordfile: {{ include "rowcount.path" (dict "ref" .password "path" "redis/password") }}
    sentinelusername: {{ quote .sentinelUsername }}
    sentinelpasswordfile: {{ include "rowcount.path" (dict "ref" .sentinelPassword "path" "redis/sentinel-password") }}
    db: {{ int .db }}
    dialtimeout: {{ .dialTimeout }}
    readtimeout: {{ .readTimeout }}
    writetimeout: {{ .writeTimeout }}
    tls:
      enabled: {{ .tls.enabled }}
      insecure: {{ .tls.insecure }}
      ca: {{ include "rowcount.path" (dict "ref" .tls.ca "path" "redis/ca.crt") }}
{{- end }}
{{- with .Values.lease }}
lease:
  acquire: {{ .acquire }}
  quarantine: {{ .quarantine }}
  firststart: {{ .firstStart }}
{{- end }}
{{- with .Values.collection }}
collection:
  timeout: {{ .timeout }}
  triggerinterval: {{ .triggerInterval }}
  staleafter: {{ int .staleAfter }}
{{- end }}
catalog: {{ .Values.catalog }}
queries:
  {{- range $name, $query := .Values.queries }}
  {{ $name }}:
    {{- range $key, $value := $query }}
    {{ $key }}: {{ include "rowcount.scalar" $value }}
    {{- end }}
  {{- else }} {}
  {{- end }}
{{- with .Values.rates }}
rates:
  prometheus:
    url: {{ quote .prometheus.url }}
    tokenfile: {{ include "rowcount.path" (dict "ref" .prometheus.token "path" "prometheus/token") }}
    username: {{ quote .prometheus.username }}
    passwordfile: {{ include "rowcount.path" (dict "ref" .prometheus.password "path" "prometheus/password") }}
    tenant: {{ quote .prometheus.tenant }}
    timeout: {{ .prometheus.timeout }}
    tls:
      ca: {{ include "rowcount.path" (dict "ref" .prometheus.tls.ca "path" "prometheus/ca.crt") }}
      certificate: {{ include "rowcount.path" (dict "ref" .prometheus.tls.clientCertificate "path" "prometheus/tls.crt") }}
      key: {{ include "rowcount.path" (dict "ref" .prometheus.tls.clientCertificate "path" "prometheus/tls.key") }}
      insecure: {{ .prometheus.tls.insecure }}
  costs:
    {{- range $cost := .costs }}
    -
      {{- range $key, $value := $cost }}
      {{ $key }}: {{ include "rowcount.scalar" $value }}
      {{- end }}
    {{- else }} []
    {{- end }}
  gauge:
    enabled: {{ .gauge.enabled }}
    interval: {{ .gauge.interval }}
    model: {{ quote .gauge.model }}
{{- end }}
{{- with .Values.log }}
log:
  level: {{ .level }}
  formatter: {{ .formatter }}
  collected: {{ .collected }}
{{- end }}
tracing:
  endpoint: {{ quote .Values.tracing.endpoint }}
{{- end -}}

{{/* A value as it was written: Helm reads every number as a float, and would write 1000000 as 1e+06. */}}
{{- define "rowcount.scalar" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else if kindIs "string" . -}}
{{- quote . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}
