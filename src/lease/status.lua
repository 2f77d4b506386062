return answer('STATUS')
