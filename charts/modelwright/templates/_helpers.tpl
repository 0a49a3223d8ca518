{{- define "modelwright.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "modelwright.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "modelwright.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "modelwright.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "modelwright.selector" -}}
app.kubernetes.io/name: {{ include "modelwright.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "modelwright.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "modelwright.selector" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "modelwright.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "modelwright.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Repository with its registry. Call with (list . .Values.image). */ -}}
{{- define "modelwright.repository" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- with $root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- end }}

{{- /* The whole reference of an image. Call with (list . .Values.image). */ -}}
{{- define "modelwright.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- include "modelwright.repository" . }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- define "modelwright.subject" -}}
- kind: ServiceAccount
  name: {{ include "modelwright.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* The development image is known by its name. */ -}}
{{- define "modelwright.refuseDevelopmentImage" -}}
{{- $root := index . 0 }}
{{- $pool := index . 1 }}
{{- if and (not $root.Values.dev) (regexMatch "(^|/)triton-cpu([:@]|$)" $pool.image) }}
{{- fail (printf "pool %s: the image %s is for development only: its Triton has known vulnerabilities. Use NVIDIA's image, or set dev=true on a cluster of your own." $pool.name $pool.image) }}
{{- end }}
{{- end }}

{{- /* Only a changed spec is judged: an annotation on an old object is never refused. */ -}}
{{- define "modelwright.modelConstraints" -}}
failurePolicy: Fail
paramKind:
  apiVersion: modelwright.dev/v1alpha1
  kind: ServingPolicy
matchConstraints:
  resourceRules:
    - apiGroups: [modelwright.dev]
      apiVersions: [v1alpha1]
      operations: [CREATE, UPDATE]
      resources: [optimizedmodels]
matchConditions:
  - name: spec-changed
    expression: oldObject == null || object.spec != oldObject.spec
{{- end }}

{{- /* Restricts a binding to the namespaces that are served. */ -}}
{{- define "modelwright.watched" -}}
{{- with .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values:
          {{- toYaml . | nindent 10 }}
{{- end }}
{{- end }}
