{{/* Names and labels. The selector never changes between versions: name and instance only. */}}

{{- define "rowcount.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Leaves room for "-dashboard" and "-headless". */}}
{{- define "rowcount.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "rowcount.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rowcount.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rowcount.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "rowcount.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "rowcount.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "rowcount.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rowcount.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "rowcount.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name by which the instances are called, and which their certificate must have. */}}
{{- define "rowcount.host" -}}
{{- printf "%s.%s.svc" (include "rowcount.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* What a client's --server is, inside the cluster. */}}
{{- define "rowcount.server" -}}
{{- printf "%s://%s:%d" (ternary "https" "http" (ne .Values.grpc.tls.existingSecret "")) (include "rowcount.host" .) (int .Values.grpc.port) -}}
{{- end -}}

{{/* Whether clients of gRPC are given an authority: "true" or nothing. */}}
{{- define "rowcount.hasCA" -}}
{{- if and .Values.grpc.tls.existingSecret .Values.grpc.tls.caKey -}}true{{- end -}}
{{- end -}}

{{/* Of the pod of `helm test`, which no Service and no budget may take for an instance. */}}
{{- define "rowcount.testLabels" -}}
app.kubernetes.io/name: {{ include "rowcount.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The fleet: part of every Redis key. */}}
{{- define "rowcount.cluster" -}}
{{- default (printf "%s.%s" .Release.Namespace (include "rowcount.fullname" .)) .Values.cluster -}}
{{- end -}}

{{/* Whether lease and board are shared: "true" or nothing. */}}
{{- define "rowcount.hasRedis" -}}
{{- if and .Values.redis.cache.enabled .Values.redis.cache.addr -}}true{{- end -}}
{{- end -}}

{{/* A duration in seconds, as a number's text. */}}
{{- define "rowcount.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $total = addf $total (mulf (trimSuffix $unit . | float64) (get $units $unit)) -}}
{{- end -}}
{{- $total -}}
{{- end -}}

{{/* The port of host:port or of a URL; {text, default}. */}}
{{- define "rowcount.portOf" -}}
{{- default .default (regexFind ":[0-9]+$" (regexReplaceAll "^([a-z]+://[^/]*).*$" .text "${1}") | trimPrefix ":") -}}
{{- end -}}

{{/* The first token that may only read, else the first that may more; as JSON. */}}
{{- define "rowcount.readToken" -}}
{{- $found := dict -}}
{{- range .Values.auth.tokens -}}
{{- if or (empty $found) (and (eq .role "read") (ne $found.role "read")) -}}
{{- $found = . -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}
