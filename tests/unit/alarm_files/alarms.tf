variable "service" {
  default = "svc"
}

variable "slow" {
  type = number
}

locals {
  least = 2 # failures
}

resource "aws_sns_topic" "on_call" {
  name = "on-call"
}

resource "aws_cloudwatch_metric_alarm" "http_5xx" {
  alarm_name          = "${var.service}-5xx"
  alarm_actions       = [aws_sns_topic.on_call.arn]
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_Target_5XX_Count"
  statistic           = "Sum"
  period              = 5 * 60
  evaluation_periods  = 1
  threshold           = local.least
  comparison_operator = "GreaterThanOrEqualToThreshold"
  alarm_description   = <<-EOT
    Two in five minutes.
  EOT
  dimensions = {
    LoadBalancer = aws_lb.main.arn_suffix
  }
}

resource "aws_cloudwatch_metric_alarm" "error_rate" {
  alarm_name          = "svc-error-rate"
  alarm_actions       = [aws_sns_topic.on_call.arn]
  evaluation_periods  = 1
  threshold           = 0.09
  comparison_operator = "GreaterThanOrEqualToThreshold"

  metric_query {
    id          = "rate"
    expression  = "100 * errors / asked"
    return_data = true
  }
  metric_query {
    id = "errors"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_Target_5XX_Count"
      period      = 60
      stat        = "Sum"
    }
  }
  metric_query {
    id = "asked"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "RequestCount"
      period      = 60
      stat        = "Sum"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "latency" {
  alarm_name          = "svc-latency"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 1
  threshold           = var.slow
  comparison_operator = "GreaterThanThreshold"
}

resource "aws_cloudwatch_composite_alarm" "page" {
  alarm_name    = "svc-page"
  alarm_actions = [aws_sns_topic.on_call.arn]
  alarm_rule    = "ALARM(${aws_cloudwatch_metric_alarm.http_5xx.alarm_name})"
}
