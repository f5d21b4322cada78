"""Options that say how S3 and Glue are reached, the same for every command."""

from typing import Annotated

import typer

Region = Annotated[
    str | None, typer.Option(help="AWS region of S3 and Glue. Default: as boto3 finds it.")
]
Profile = Annotated[
    str | None,
    typer.Option(help="Profile of the AWS configuration files. Default: as boto3 finds it."),
]
Endpoint = Annotated[
    str | None, typer.Option(help="Address of an S3-compatible server. Default: as boto3 finds it.")
]
GlueEndpoint = Annotated[
    str | None, typer.Option(help="Address of the Glue catalog. Default: as boto3 finds it.")
]
KmsKey = Annotated[
    str | None,
    typer.Option(help="Id, alias or ARN of the KMS key that encrypts what is written to S3."),
]
