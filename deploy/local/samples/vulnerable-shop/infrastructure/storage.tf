resource "aws_s3_bucket" "backups" {
  bucket = "shop-backups"
  acl    = "public-read"
}
