"""Print the job template of an ECS work pool: prefect-aws's template with this pipeline's values as defaults.

python deploy/ecs_job_template.py --image … --cluster … --execution-role … --task-role … --region … > ecs.json
prefect work-pool create department-members --type ecs --base-job-template ecs.json
"""

import argparse
import json
import sys
from typing import Any

from prefect_aws.workers import ECSWorker

FAMILY = "department-members"


def job_template(image: str, cluster: str, execution_role: str, task_role: str, region: str) -> dict[str, Any]:
    """prefect-aws's template for ECS with this pipeline's image, roles and size.

    The region goes into the task's definition, not into its `env`: a deployment that sets `env` replaces it whole.
    """
    template: dict[str, Any] = ECSWorker.get_default_base_job_template()
    ours = {
        "image": image,
        "cluster": cluster,
        "execution_role_arn": execution_role,
        "task_role_arn": task_role,
        "launch_type": "FARGATE",
        "cpu": 1024,
        "memory": 2048,  # 400 MB are used, whatever the number of members; the rest is the page cache
        "family": FAMILY,
        "match_latest_revision_in_family": True,  # else each run registers a definition of its own
        "configure_cloudwatch_logs": True,
        "cloudwatch_logs_prefix": FAMILY,
    }
    for name, value in ours.items():
        template["variables"]["properties"][name]["default"] = value
    [container] = template["job_configuration"]["task_definition"]["containerDefinitions"]
    container["environment"] = [{"name": "AWS_DEFAULT_REGION", "value": region}]
    return template


def main() -> int:
    """Print the template."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--image", required=True, help="the image built from deploy/Dockerfile, with registry and tag")
    parser.add_argument("--cluster", required=True, help="the ECS cluster's name or ARN")
    parser.add_argument(
        "--execution-role", required=True, help="the role with which ECS pulls the image and writes logs"
    )
    parser.add_argument(
        "--task-role", required=True, help="the role with which runs access S3, SNS and RDS: SyncRoleArn in aws.yaml"
    )
    parser.add_argument("--region", required=True, help="the AWS region of the database")
    options = parser.parse_args()
    json.dump(job_template(**vars(options)), sys.stdout, indent=2)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
