{{/*
A rule of files/rules.yaml for this release: its selector picks this fleet's series, and the two thresholds that follow
from database.metrics.interval (of 10s in the file) follow this one's. {root, rule}
*/}}

{{- define "rowcount.rule" -}}
{{- $values := .root.Values.prometheusRule -}}
{{- $interval := include "rowcount.seconds" .root.Values.database.metrics.interval | float64 -}}
{{- $ours := printf `job="%s",namespace="%s"` (include "rowcount.fullname" .root) .root.Release.Namespace -}}
{{- $expr := .rule.expr | replace `job="rowcount"` (default $ours $values.selector) -}}
{{- if eq (default "" .rule.alert) "RowcountCollectionStale" -}}
{{- $expr = $expr | replace "> 300" (printf "> %v" (maxf 300.0 (mulf $interval 5.0))) -}}
{{- else if eq (default "" .rule.alert) "RowcountCollectionSlow" -}}
{{- $expr = $expr | replace "> 10" (printf "> %v" $interval) -}}
{{- end -}}
{{- $rule := set (deepCopy .rule) "expr" $expr -}}
{{- if .rule.alert -}}
{{- $_ := set $rule "labels" (merge (dict) (default dict $values.alertLabels) $rule.labels) -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s%s.md" $values.runbookBaseURL .rule.alert) -}}
{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
