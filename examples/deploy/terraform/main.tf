terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.25" # the first that knows durable_config
    }
    archive = {
      source  = "hashicorp/archive"
      version = ">= 2.4"
    }
  }
}

data "aws_partition" "current" {}

data "archive_file" "orders" {
  type        = "zip"
  source_dir  = "${path.module}/../build"
  output_path = "${path.module}/orders.zip"
}

resource "aws_iam_role" "orders" {
  name = "orders"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "orders" {
  role       = aws_iam_role.orders.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AWSLambdaBasicDurableExecutionRolePolicy"
}

resource "aws_lambda_function" "orders" {
  function_name    = "orders"
  role             = aws_iam_role.orders.arn
  filename         = data.archive_file.orders.output_path
  source_code_hash = data.archive_file.orders.output_base64sha256
  handler          = "app.handler"
  runtime          = "python3.13"
  architectures    = ["x86_64"]
  memory_size      = 512
  timeout          = 60   # of one invocation, in seconds
  publish          = true # a version with each deployment

  durable_config {
    execution_timeout = 86400 # of a whole execution with its waits, in seconds
    retention_period  = 14    # days
  }

  timeouts {
    delete = "60m" # executions that run are stopped first
  }

  depends_on = [aws_iam_role_policy_attachment.orders]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.orders.function_name
  function_version = aws_lambda_function.orders.version
}

output "orders" {
  description = "What to invoke"
  value       = aws_lambda_alias.live.arn
}
