"""What Metaflow runs remote tasks on, on one machine: AWS Batch, Kubernetes, Argo, Step Functions and Airflow.

Every container is a `sandbox`: a root of its own, the job's own variables, a Python of an image (`images`), and no
network but the loopback (`network`). What asks for containers is `batch` (moto, with S3), `kubernetes`, and what
executes the output of Metaflow's ``create`` commands: `argo`, `step_functions`, `airflow`. Needs Linux, and root or
user namespaces.
"""
