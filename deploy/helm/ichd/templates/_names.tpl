{{- define "ichd.name" -}}
{{- if contains "ichd" .Release.Name }}{{ .Release.Name | trunc 50 }}{{ else }}{{ printf "%s-ichd" .Release.Name | trunc 50 }}{{ end -}}
{{- end }}

{{- define "ichd.selector" -}}
app.kubernetes.io/name: ichd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ichd.labels" -}}
{{ include "ichd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "ichd.secret" -}}
{{ .Values.secret.existing | default (printf "%s-settings" (include "ichd.name" .)) }}
{{- end }}

{{- define "ichd.bucket" -}}
{{ if hasPrefix "s3://" .Values.settings.spool.url }}yes{{ end }}
{{- end }}

{{/* ichd.toml: what was asked for, over what must be so in a pod. */}}
{{- define "ichd.toml" -}}
{{- $must := dict "dicom" (dict "host" "0.0.0.0" "port" 11112) "spool" (dict) "model" (dict "cache" "/var/lib/ichd/engine-cache") "web" (dict "host" "0.0.0.0" "port" 8642 "behind_tls" true) -}}
{{- if include "ichd.bucket" . }}{{ $_ := set $must.spool "folder" "/var/lib/ichd/spool" }}{{ end -}}
{{- mergeOverwrite (deepCopy .Values.settings) $must | toToml -}}
{{- end }}

{{/* What the pods of all roles share; called with a dict of root and role. */}}
{{- define "ichd.pod" -}}
serviceAccountName: {{ include "ichd.name" .root }}
# None of our pods asks Kubernetes for anything.
automountServiceAccountToken: false
# A Service "ichd-web" would put ICHD_WEB_PORT=tcp://... into every pod, which the daemon takes for a setting and refuses.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
# The "restricted" standard of pods.
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  # A spool of millions of files must not be given to us anew at each start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: config
    configMap:
      name: {{ include "ichd.name" .root }}
  - name: secrets
    secret:
      secretName: {{ include "ichd.secret" .root }}
  # Spool, outbox, heat maps, converted engines: a cache where the images are in a bucket, the spool itself where not.
  - name: state
    {{- if include "ichd.bucket" .root }}
    emptyDir: {}
    {{- else }}
    persistentVolumeClaim:
      claimName: {{ .root.Values.sharedSpool.existingClaim | default (printf "%s-spool" (include "ichd.name" .root)) }}
    {{- end }}
  - name: run
    emptyDir:
      medium: Memory
      sizeLimit: 1Mi
  - name: tmp
    emptyDir:
      sizeLimit: 1Gi
  {{- with .root.Values.models.existingClaim }}
  - name: models
    persistentVolumeClaim:
      claimName: {{ . }}
  {{- end }}
{{- end }}

{{/* What their containers share. */}}
{{- define "ichd.container" -}}
image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
env:
  # Files named SECTION__KEY are settings; variables would show in `kubectl describe`.
  - name: CREDENTIALS_DIRECTORY
    value: /etc/ichd-secrets
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  # The folder, not one file of it: then a changed file arrives without a new pod. The daemon reads it at its start.
  - name: config
    mountPath: /etc/ichd
    readOnly: true
  - name: secrets
    mountPath: /etc/ichd-secrets
    readOnly: true
  - name: state
    mountPath: /var/lib/ichd
  - name: run
    mountPath: /run/ichd
  - name: tmp
    mountPath: /tmp
  {{- if .root.Values.models.existingClaim }}
  - name: models
    mountPath: /srv/ichd
  {{- end }}
{{- end }}
